-- Up to which number the events of an epoch were pruned: given again, they are known. Numbers of one
-- (source, family, epoch) come in order, so the highest stands for all below it.
CREATE TABLE pruned (
    source   TEXT    NOT NULL,
    family   TEXT    NOT NULL,
    epoch    INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (source, family, epoch)
) WITHOUT ROWID;
