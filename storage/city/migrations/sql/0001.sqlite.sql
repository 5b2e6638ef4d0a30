CREATE TABLE cases (
	"case" VARCHAR NOT NULL,
	scenario VARCHAR NOT NULL,
	category VARCHAR NOT NULL,
	area VARCHAR NOT NULL,
	town VARCHAR NOT NULL,
	community VARCHAR NOT NULL,
	state VARCHAR NOT NULL,
	level VARCHAR NOT NULL,
	severity VARCHAR NOT NULL,
	holder VARCHAR NOT NULL,
	channel VARCHAR NOT NULL,
	opened_by VARCHAR NOT NULL,
	reference VARCHAR NOT NULL,
	cause VARCHAR NOT NULL,
	estate VARCHAR NOT NULL,
	public BOOLEAN NOT NULL,
	opened_us BIGINT NOT NULL,
	lon FLOAT,
	lat FLOAT,
	spot BIGINT,
	version INTEGER NOT NULL,
	updated_us BIGINT NOT NULL,
	closed_us BIGINT NOT NULL,
	final BOOLEAN NOT NULL,
	facts INTEGER NOT NULL,
	step SMALLINT NOT NULL,
	doc TEXT NOT NULL,
	CONSTRAINT cases_key PRIMARY KEY ("case")
);

CREATE INDEX cases_by_cause ON cases (cause) WHERE cause != '';

CREATE INDEX cases_by_close ON cases (scenario, closed_us, "case") WHERE closed_us > 0;

CREATE INDEX cases_by_community ON cases (community, opened_us, "case");

CREATE INDEX cases_by_estate ON cases (estate) WHERE estate != '';

CREATE INDEX cases_by_reference ON cases (reference) WHERE reference != '';

CREATE INDEX cases_by_scenario ON cases (scenario, opened_us, "case");

CREATE INDEX cases_by_spot ON cases (spot);

CREATE INDEX cases_by_time ON cases (opened_us, "case");

CREATE INDEX cases_by_town ON cases (town, opened_us, "case");

CREATE TABLE case_open (
	"case" VARCHAR NOT NULL,
	scenario VARCHAR NOT NULL,
	category VARCHAR NOT NULL,
	area VARCHAR NOT NULL,
	town VARCHAR NOT NULL,
	community VARCHAR NOT NULL,
	state VARCHAR NOT NULL,
	level VARCHAR NOT NULL,
	severity VARCHAR NOT NULL,
	holder VARCHAR NOT NULL,
	channel VARCHAR NOT NULL,
	opened_by VARCHAR NOT NULL,
	reference VARCHAR NOT NULL,
	cause VARCHAR NOT NULL,
	estate VARCHAR NOT NULL,
	public BOOLEAN NOT NULL,
	opened_us BIGINT NOT NULL,
	lon FLOAT,
	lat FLOAT,
	spot BIGINT,
	due_us BIGINT NOT NULL,
	next_us BIGINT NOT NULL,
	CONSTRAINT case_open_key PRIMARY KEY ("case")
);

CREATE INDEX case_open_by_community ON case_open (community, due_us, "case");

CREATE INDEX case_open_by_due ON case_open (due_us, "case");

CREATE INDEX case_open_by_next ON case_open (next_us);

CREATE INDEX case_open_by_time ON case_open (opened_us, "case");

CREATE INDEX case_open_by_town ON case_open (town, due_us, "case");

CREATE TABLE case_orgs (
	org VARCHAR NOT NULL,
	"case" VARCHAR NOT NULL,
	opened_us BIGINT NOT NULL,
	due_us BIGINT NOT NULL,
	CONSTRAINT case_orgs_key PRIMARY KEY (org, "case")
);

CREATE INDEX case_orgs_by_due ON case_orgs (org, due_us, "case") WHERE due_us > 0;

CREATE INDEX case_orgs_by_time ON case_orgs (org, opened_us, "case");

CREATE TABLE case_steps (
	"case" VARCHAR NOT NULL,
	version INTEGER NOT NULL,
	time_us BIGINT NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT case_steps_key PRIMARY KEY ("case", version)
)
 WITHOUT ROWID;

CREATE TABLE case_early (
	"case" VARCHAR NOT NULL,
	version INTEGER NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT case_early_key PRIMARY KEY ("case", version)
)
 WITHOUT ROWID;

CREATE TABLE case_findings (
	what VARCHAR NOT NULL,
	"case" VARCHAR NOT NULL,
	at_us BIGINT NOT NULL,
	CONSTRAINT case_findings_key PRIMARY KEY (what, "case")
);

CREATE INDEX case_findings_by_time ON case_findings (what, at_us, "case");

CREATE TABLE case_towns (
	scenario VARCHAR NOT NULL,
	day INTEGER NOT NULL,
	town VARCHAR NOT NULL,
	opened INTEGER NOT NULL,
	closed INTEGER NOT NULL,
	on_time INTEGER NOT NULL,
	called_back INTEGER NOT NULL,
	solved INTEGER NOT NULL,
	satisfied INTEGER NOT NULL,
	reopened INTEGER NOT NULL,
	s0 INTEGER NOT NULL,
	s1 INTEGER NOT NULL,
	s2 INTEGER NOT NULL,
	s3 INTEGER NOT NULL,
	s4 INTEGER NOT NULL,
	s5 INTEGER NOT NULL,
	s6 INTEGER NOT NULL,
	s7 INTEGER NOT NULL,
	s8 INTEGER NOT NULL,
	s9 INTEGER NOT NULL,
	s10 INTEGER NOT NULL,
	s11 INTEGER NOT NULL,
	s12 INTEGER NOT NULL,
	s13 INTEGER NOT NULL,
	s14 INTEGER NOT NULL,
	s15 INTEGER NOT NULL,
	s16 INTEGER NOT NULL,
	s17 INTEGER NOT NULL,
	s18 INTEGER NOT NULL,
	s19 INTEGER NOT NULL,
	s20 INTEGER NOT NULL,
	s21 INTEGER NOT NULL,
	s22 INTEGER NOT NULL,
	s23 INTEGER NOT NULL,
	s24 INTEGER NOT NULL,
	s25 INTEGER NOT NULL,
	CONSTRAINT case_towns_key PRIMARY KEY (scenario, day, town)
)
 WITHOUT ROWID;

CREATE TABLE case_categories (
	scenario VARCHAR NOT NULL,
	day INTEGER NOT NULL,
	category VARCHAR NOT NULL,
	opened INTEGER NOT NULL,
	closed INTEGER NOT NULL,
	on_time INTEGER NOT NULL,
	called_back INTEGER NOT NULL,
	solved INTEGER NOT NULL,
	satisfied INTEGER NOT NULL,
	reopened INTEGER NOT NULL,
	s0 INTEGER NOT NULL,
	s1 INTEGER NOT NULL,
	s2 INTEGER NOT NULL,
	s3 INTEGER NOT NULL,
	s4 INTEGER NOT NULL,
	s5 INTEGER NOT NULL,
	s6 INTEGER NOT NULL,
	s7 INTEGER NOT NULL,
	s8 INTEGER NOT NULL,
	s9 INTEGER NOT NULL,
	s10 INTEGER NOT NULL,
	s11 INTEGER NOT NULL,
	s12 INTEGER NOT NULL,
	s13 INTEGER NOT NULL,
	s14 INTEGER NOT NULL,
	s15 INTEGER NOT NULL,
	s16 INTEGER NOT NULL,
	s17 INTEGER NOT NULL,
	s18 INTEGER NOT NULL,
	s19 INTEGER NOT NULL,
	s20 INTEGER NOT NULL,
	s21 INTEGER NOT NULL,
	s22 INTEGER NOT NULL,
	s23 INTEGER NOT NULL,
	s24 INTEGER NOT NULL,
	s25 INTEGER NOT NULL,
	CONSTRAINT case_categories_key PRIMARY KEY (scenario, day, category)
)
 WITHOUT ROWID;

CREATE TABLE case_months (
	scenario VARCHAR NOT NULL,
	month INTEGER NOT NULL,
	town VARCHAR NOT NULL,
	category VARCHAR NOT NULL,
	opened INTEGER NOT NULL,
	closed INTEGER NOT NULL,
	on_time INTEGER NOT NULL,
	called_back INTEGER NOT NULL,
	solved INTEGER NOT NULL,
	satisfied INTEGER NOT NULL,
	reopened INTEGER NOT NULL,
	s0 INTEGER NOT NULL,
	s1 INTEGER NOT NULL,
	s2 INTEGER NOT NULL,
	s3 INTEGER NOT NULL,
	s4 INTEGER NOT NULL,
	s5 INTEGER NOT NULL,
	s6 INTEGER NOT NULL,
	s7 INTEGER NOT NULL,
	s8 INTEGER NOT NULL,
	s9 INTEGER NOT NULL,
	s10 INTEGER NOT NULL,
	s11 INTEGER NOT NULL,
	s12 INTEGER NOT NULL,
	s13 INTEGER NOT NULL,
	s14 INTEGER NOT NULL,
	s15 INTEGER NOT NULL,
	s16 INTEGER NOT NULL,
	s17 INTEGER NOT NULL,
	s18 INTEGER NOT NULL,
	s19 INTEGER NOT NULL,
	s20 INTEGER NOT NULL,
	s21 INTEGER NOT NULL,
	s22 INTEGER NOT NULL,
	s23 INTEGER NOT NULL,
	s24 INTEGER NOT NULL,
	s25 INTEGER NOT NULL,
	CONSTRAINT case_months_key PRIMARY KEY (scenario, month, town, category)
)
 WITHOUT ROWID;

CREATE TABLE case_communities (
	scenario VARCHAR NOT NULL,
	month INTEGER NOT NULL,
	community VARCHAR NOT NULL,
	opened INTEGER NOT NULL,
	closed INTEGER NOT NULL,
	on_time INTEGER NOT NULL,
	called_back INTEGER NOT NULL,
	solved INTEGER NOT NULL,
	satisfied INTEGER NOT NULL,
	reopened INTEGER NOT NULL,
	s0 INTEGER NOT NULL,
	s1 INTEGER NOT NULL,
	s2 INTEGER NOT NULL,
	s3 INTEGER NOT NULL,
	s4 INTEGER NOT NULL,
	s5 INTEGER NOT NULL,
	s6 INTEGER NOT NULL,
	s7 INTEGER NOT NULL,
	s8 INTEGER NOT NULL,
	s9 INTEGER NOT NULL,
	s10 INTEGER NOT NULL,
	s11 INTEGER NOT NULL,
	s12 INTEGER NOT NULL,
	s13 INTEGER NOT NULL,
	s14 INTEGER NOT NULL,
	s15 INTEGER NOT NULL,
	s16 INTEGER NOT NULL,
	s17 INTEGER NOT NULL,
	s18 INTEGER NOT NULL,
	s19 INTEGER NOT NULL,
	s20 INTEGER NOT NULL,
	s21 INTEGER NOT NULL,
	s22 INTEGER NOT NULL,
	s23 INTEGER NOT NULL,
	s24 INTEGER NOT NULL,
	s25 INTEGER NOT NULL,
	CONSTRAINT case_communities_key PRIMARY KEY (scenario, month, community)
)
 WITHOUT ROWID;

CREATE TABLE case_spots (
	scenario VARCHAR NOT NULL,
	month INTEGER NOT NULL,
	town VARCHAR NOT NULL,
	spot BIGINT NOT NULL,
	category VARCHAR NOT NULL,
	count INTEGER NOT NULL,
	CONSTRAINT case_spots_key PRIMARY KEY (scenario, month, town, spot, category)
)
 WITHOUT ROWID;

CREATE TABLE city_features (
	seq INTEGER NOT NULL,
	layer INTEGER NOT NULL,
	id VARCHAR NOT NULL,
	area VARCHAR NOT NULL,
	kind VARCHAR NOT NULL,
	x0 DOUBLE,
	y0 DOUBLE,
	x1 DOUBLE,
	y1 DOUBLE,
	since_us BIGINT NOT NULL,
	until_us BIGINT NOT NULL,
	valid_us BIGINT NOT NULL,
	mark BIGINT NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT city_features_key PRIMARY KEY (seq)
);

CREATE INDEX city_features_by_layer_area ON city_features (layer, area);

CREATE INDEX city_features_by_layer_kind ON city_features (layer, kind, seq);

CREATE UNIQUE INDEX city_features_one_layer_id ON city_features (layer, id);

CREATE VIRTUAL TABLE IF NOT EXISTS city_feature_boxes USING rtree(id, x0, x1, y0, y1, l0, l1);

CREATE INDEX IF NOT EXISTS city_features_not_by_cell ON city_features (layer) WHERE x0 IS NOT NULL AND (x1 > x0 OR y1 > y0 OR (seq & 9007199254740992) <> 0);

CREATE TABLE city_features_before (
	number INTEGER NOT NULL,
	layer INTEGER NOT NULL,
	id VARCHAR NOT NULL,
	area VARCHAR NOT NULL,
	from_us BIGINT NOT NULL,
	to_us BIGINT NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT city_features_before_key PRIMARY KEY (number)
);

CREATE INDEX city_features_before_by_layer_id ON city_features_before (layer, id);

CREATE TABLE city_layers (
	number INTEGER NOT NULL,
	name VARCHAR NOT NULL,
	count BIGINT NOT NULL,
	changes BIGINT NOT NULL,
	properties TEXT NOT NULL,
	x0 DOUBLE,
	y0 DOUBLE,
	x1 DOUBLE,
	y1 DOUBLE,
	CONSTRAINT city_layers_key PRIMARY KEY (number),
	CONSTRAINT city_layers_one_name UNIQUE (name)
);

CREATE TABLE city_place_sources (
	source VARCHAR NOT NULL,
	sequence BIGINT NOT NULL,
	CONSTRAINT city_place_sources_key PRIMARY KEY (source)
);

CREATE TABLE city_alert_verdicts (
	alert VARCHAR NOT NULL,
	verdict VARCHAR NOT NULL,
	CONSTRAINT city_alert_verdicts_key PRIMARY KEY (alert)
);

CREATE TABLE appeal_links (
	"case" VARCHAR NOT NULL,
	"of" VARCHAR NOT NULL,
	CONSTRAINT appeal_links_key PRIMARY KEY ("case")
);

CREATE INDEX appeal_links_by_of ON appeal_links ("of");

CREATE TABLE city_days (
	day VARCHAR NOT NULL,
	sequence BIGINT NOT NULL,
	"is" VARCHAR NOT NULL,
	name VARCHAR NOT NULL,
	who VARCHAR NOT NULL,
	time_us BIGINT NOT NULL,
	CONSTRAINT city_days_key PRIMARY KEY (day)
);

CREATE TABLE city_rated (
	entry VARCHAR NOT NULL,
	sequence BIGINT NOT NULL,
	company VARCHAR NOT NULL,
	estate VARCHAR NOT NULL,
	expires_us BIGINT NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT city_rated_key PRIMARY KEY (entry)
);

CREATE INDEX city_rated_by_company ON city_rated (company);

CREATE INDEX city_rated_by_estate ON city_rated (estate);

CREATE TABLE city_rated_said (
	entry VARCHAR NOT NULL,
	sequence BIGINT NOT NULL,
	time_us BIGINT NOT NULL,
	body TEXT NOT NULL,
	CONSTRAINT city_rated_said_key PRIMARY KEY (entry, sequence)
);

CREATE TABLE reg_persons (
	ref VARCHAR NOT NULL,
	blind BLOB,
	area VARCHAR NOT NULL,
	home VARCHAR NOT NULL,
	care VARCHAR NOT NULL,
	version INTEGER NOT NULL,
	sealed BLOB NOT NULL,
	CONSTRAINT reg_persons_key PRIMARY KEY (ref)
)
 WITHOUT ROWID;

CREATE INDEX reg_persons_by_area ON reg_persons (area, ref);

CREATE INDEX reg_persons_by_blind ON reg_persons (blind);

CREATE TABLE reg_facts (
	ref VARCHAR NOT NULL,
	n INTEGER NOT NULL,
	kind VARCHAR NOT NULL,
	home VARCHAR NOT NULL,
	since VARCHAR NOT NULL,
	until VARCHAR NOT NULL,
	"as" VARCHAR NOT NULL,
	household VARCHAR NOT NULL,
	CONSTRAINT reg_facts_key PRIMARY KEY (ref, n)
)
 WITHOUT ROWID;

CREATE INDEX reg_facts_by_home ON reg_facts (home);

CREATE TABLE reg_care (
	tag VARCHAR NOT NULL,
	area VARCHAR NOT NULL,
	ref VARCHAR NOT NULL,
	CONSTRAINT reg_care_key PRIMARY KEY (tag, area, ref)
)
 WITHOUT ROWID;

CREATE INDEX reg_care_by_ref ON reg_care (ref);

CREATE TABLE reg_homes (
	home VARCHAR NOT NULL,
	building VARCHAR NOT NULL,
	area VARCHAR NOT NULL,
	unit VARCHAR NOT NULL,
	room VARCHAR NOT NULL,
	address VARCHAR NOT NULL,
	use VARCHAR NOT NULL,
	area_m2 FLOAT NOT NULL,
	CONSTRAINT reg_homes_key PRIMARY KEY (home)
)
 WITHOUT ROWID;

CREATE INDEX reg_homes_by_area ON reg_homes (area, home);

CREATE INDEX reg_homes_by_building ON reg_homes (building);

CREATE TABLE reg_visits (
	visit VARCHAR NOT NULL,
	ref VARCHAR NOT NULL,
	area VARCHAR NOT NULL,
	kind VARCHAR NOT NULL,
	org VARCHAR NOT NULL,
	who VARCHAR NOT NULL,
	time_us BIGINT NOT NULL,
	sealed BLOB NOT NULL,
	CONSTRAINT reg_visits_key PRIMARY KEY (visit)
);

CREATE INDEX reg_visits_by_ref ON reg_visits (ref, time_us);

CREATE TABLE city_offsets (
	log VARCHAR NOT NULL,
	"offset" BIGINT NOT NULL,
	CONSTRAINT city_offsets_key PRIMARY KEY (log)
);
