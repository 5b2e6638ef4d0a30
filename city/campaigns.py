"""Inspection campaigns (大走访, 大排查): places to visit, a form, a deadline; what the answers lead to.

Answers are yes or no, one of several, or a number: there is no room for words about a person.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from events.errors import MissingValue
from events.payload import Place

Line = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
Maybe = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
Code = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,40}$")]
Area = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{0,60}$")]
Answer = bool | float | str
YES, NO = "yes", "no"
MOST = 5000
"""Places of one campaign."""


class Effect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an answer leads to."""

    points: Annotated[float, msgspec.Meta(ge=-100, le=100)] = 0.0
    """Merit (above 0) or demerit of the property company whose estate it is; 0: none."""
    rating: Maybe = ""
    """Category of the rating, where there are points."""
    matter: Maybe = ""
    """Category of the matter that it opens; '': none."""


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question of a form."""

    code: Code
    title: Line
    title_zh: Maybe = ""
    kind: Literal["yes-no", "choice", "number"] = "yes-no"
    values: Annotated[tuple[Code, ...], msgspec.Meta(max_length=20)] = ()
    """Of a choice."""
    required: bool = True
    effects: dict[Code, Effect] = {}
    """Answer (yes, no, or one of the values) -> what follows."""


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place to visit."""

    name: Line
    area: Area = ""
    """Code of the jurisdiction; found by the place, if that is given."""
    place: tuple[float, float] | None = None
    estate: Maybe = ""
    """Property estate, for points."""


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign."""

    id: str
    title: str
    area: str
    due_us: int
    questions: tuple[Question, ...]
    visits: int
    who: str
    since_us: int


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """One place of a campaign, and what was found there."""

    id: str
    campaign: str
    name: str
    area: str
    place: Place | None = None
    estate: str = ""
    version: int = 0
    state: Literal["open", "done"] = "open"
    answers: dict[str, Answer] = {}
    who: str = ""
    done_us: int = 0


def check_form(questions: tuple[Question, ...]) -> None:
    """Raises MissingValue where the form does not hang together."""
    codes = [question.code for question in questions]
    if not codes or len(set(codes)) < len(codes):
        raise MissingValue("a campaign has questions, and none of them twice", "questions")
    for question in questions:
        if (question.kind == "choice") != bool(question.values):
            raise MissingValue(
                f"question {question.code}: a choice has values, and nothing else", "questions"
            )
        takes = question.values if question.kind == "choice" else (YES, NO)
        for answer, effect in question.effects.items():
            if question.kind == "number" or answer not in takes:
                raise MissingValue(f"question {question.code} has no answer {answer!r}", "questions")
            if effect.points and not effect.rating:
                raise MissingValue(f"question {question.code}: points need a rating's category", "questions")


def check_answers(campaign: Campaign, answers: Mapping[str, Answer]) -> None:
    """Raises MissingValue where an answer is missing, of no question, or of another kind."""
    known = {question.code: question for question in campaign.questions}
    for code in answers:
        if code not in known:
            raise MissingValue(f"the campaign asks no {code[:40]!r}", "answers")
    for code, question in known.items():
        answer = answers.get(code)
        if answer is None:
            if question.required:
                raise MissingValue(f"{code} is not answered: {question.title}", "answers")
        elif question.kind == "yes-no" and not isinstance(answer, bool):
            raise MissingValue(f"{code} must be true or false", "answers")
        elif question.kind == "number" and (isinstance(answer, bool | str) or not abs(answer) < 1e12):
            raise MissingValue(f"{code} must be a number", "answers")
        elif question.kind == "choice" and answer not in question.values:
            raise MissingValue(f"{code} must be one of {', '.join(question.values)}", "answers")


def effects(campaign: Campaign, answers: Mapping[str, Answer]) -> list[tuple[Question, Effect]]:
    """What the answers lead to, in the order of the questions."""
    found = []
    for question in campaign.questions:
        answer = answers.get(question.code)
        said = (YES if answer else NO) if isinstance(answer, bool) else str(answer)
        if answer is not None and said in question.effects:
            found.append((question, question.effects[said]))
    return found
