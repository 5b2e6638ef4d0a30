"""The API against its own description: schemathesis sends what the description allows and what it forbids."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import AcceptedNegativeData, ignored_auth

from storage.city.casequery import CaseQuery
from tests.city_stage import IN_GRID, CityStage, token_of

# Asked of all operations; their own roles for those that the supervisor has no right to.
ROLES = {
    "/audit": "auditor",
    "/days": "admin",
    "/statistics/findings": "auditor",
    "/registers": "admin",
    "/imports": "admin",
    "/exports/persons": "admin",
}
REFUSED = (400, 412, 422, 428)
"""What a request that keeps to the description may still be told: no such day, another version, a place
outside the city ..."""
SLOW = ("/ogc", "/tiles")
"""Tested by the standard's own tests."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CityStage]:
    with CityStage(tmp_path_factory.mktemp("openapi")) as stage:
        with stage.client("grid1") as client:
            for category in ("010101", "010102"):
                body = {"scenario": "matter", "category": category, "place": IN_GRID, "words": {"text": "x"}}
                assert client.post("/city/cases", json=body).status_code == 201
        yield stage


@pytest.fixture(scope="module")
def description(stage: CityStage) -> dict[str, Any]:
    with stage.client() as client:
        answer = client.get("/city/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.fixture(scope="module")
def api(stage: CityStage, description: dict[str, Any]) -> Any:
    known = stage.store.cases.page(CaseQuery()).cases[0].case
    schema = schemathesis.openapi.from_dict(_with_example(description, known))
    schema.config.update(base_url=f"{stage.url}/city")
    checks = schema.config.checks
    checks.positive_data_acceptance.expected_statuses += [str(status) for status in REFUSED]
    checks.negative_data_rejection.expected_statuses += ["412", "413"]
    load_all_checks()
    return schema.exclude(path_regex="|".join(f"^{path}" for path in SLOW))


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_operation_keeps_to_its_description(api: Any, mode: GenerationMode) -> None:
    wrong, asked = [], 0
    for found in api.get_all_operations():
        operation = found.ok()
        try:
            asked += _sent(operation, mode)
        except (FailureGroup, BaseExceptionGroup, AssertionError) as failure:
            wrong.append(f"{operation.label}: {failure!r} {getattr(failure, 'exceptions', '')}")
    assert not wrong, "\n\n".join(wrong)
    assert asked > 100


def _sent(operation: Any, mode: GenerationMode) -> int:
    """Send what the description allows of the operation, or forbids, and look at every answer."""
    who = next((who for path, who in ROLES.items() if operation.path.startswith(path)), "super")
    asked = 0

    @settings(
        max_examples=4 if mode.is_negative else 6,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        nonlocal asked
        asked += 1
        # That nothing is answered without a token is tested below: the check would send ours all the same.
        headers = {"authorization": f"Bearer {token_of(who)}"}
        response = case.call(headers=headers)
        try:
            case.validate_response(response, headers=headers, excluded_checks=[ignored_auth])
        except FailureGroup as failure:
            if not all(_never_sent(one, operation, response.request.url) for one in failure.exceptions):
                raise

    try:
        send()
    except Unsatisfiable:
        assert mode.is_negative, (
            f"{operation.label}: nothing can be sent"
        )  # it takes nothing: nothing is wrong
    return asked


def _never_sent(failure: BaseException, operation: Any, url: str) -> bool:
    """Whether all that was to be wrong is not in the request: our own token is in it, and a parameter that
    nobody knows, but has no value, is in no address."""
    if not isinstance(failure, AcceptedNegativeData):
        return False
    wrong = [line.strip() for line in failure.message.splitlines() if line.strip().startswith("- ")]
    known = {parameter.name for parameter in operation.query}
    return (
        bool(wrong)
        and all(line.startswith(_INVISIBLE) for line in wrong)
        and {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)} <= known
    )


_INVISIBLE = ("- query: violates `additionalProperties`", "- header: violates `required` (was Authorization)")


def test_nothing_is_answered_to_nobody(stage: CityStage, description: dict[str, Any]) -> None:
    with stage.client() as nobody, stage.client("gate") as without_role:
        asked = 0
        for path, operations in description["paths"].items():
            if path.startswith("/open311"):
                continue  # it has its own keys and errors, and tests of them
            for method, described in operations.items():
                url = "/city" + path.replace("{", "").replace("}", "")
                asked += 1
                refused = nobody.request(method, url, json={})
                assert refused.status_code in (400, 401, 404, 422), (method, path, refused.text)
                if refused.status_code == 401:
                    assert refused.headers["www-authenticate"].startswith("Bearer")
                denied = without_role.request(method, url, json={})
                assert denied.status_code in (200,) * (path == "/") + (400, 403, 404, 422), (method, path)
                assert described["summary"]
        assert asked > 15


def test_the_description_is_complete(description: dict[str, Any]) -> None:
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            if path.startswith("/open311"):
                continue
            good = [status for status in operation["responses"] if status.startswith(("2", "3"))]
            assert good, where
            assert all(operation["responses"][status]["description"] for status in good), where
            assert {"400", "401", "403", "404", "409", "422", "503"} <= set(operation["responses"]), where
            for status in ("400", "401", "403", "404", "503"):
                assert "application/problem+json" in operation["responses"][status]["content"], where
            if method in ("post", "put", "patch"):
                content = operation["requestBody"]["content"]
                assert all("example" in kind or "examples" in kind for kind in content.values()), where


def _with_example(description: dict[str, Any], case: str) -> dict[str, Any]:
    """The description with a case that there is as the example of an id."""
    for path, operations in description["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if path.startswith("/cases/{id}") and parameter["name"] == "id":
                    parameter["example"] = case
                    parameter["schema"].pop("examples", None)
    return description
