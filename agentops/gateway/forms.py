"""What callers send: bodies and query parameters, parsed once at the edge."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agentops.engine.transitions import RunState

MAX_WAIT = 30

_Slug = Annotated[str, Field(pattern=r"^[-a-zA-Z0-9_]{1,64}$")]


class RunRequest(BaseModel):
    """A task for an agent. `input` must fit the `input_schema` of the task type."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "task_type": "support-mail",
                    "input": {"message_id": "M-0001"},
                    "title": "Refund wanted for order A-1093",
                }
            ]
        },
    )

    task_type: str = Field(max_length=64, description="Slug of the task type.")
    input: dict[str, JsonValue] = Field(description="The task; validated against the task type's `input_schema`.")
    title: str = Field(default="", max_length=200, description="What people see in lists.")


class CancelRequest(BaseModel):
    """Why a run is cancelled; people read it in the audit trail."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "Duplicate."}]})

    reason: str = Field(default="", max_length=2000)


class HoldRequest(BaseModel):
    """Why a run is paused or resumed; people read it in the audit trail."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"reason": "Wrong order."}]})

    reason: str = Field(min_length=1, max_length=500, pattern=r"\S")


class WaitQuery(BaseModel):
    """How long the caller wants to wait for the end of a run."""

    model_config = ConfigDict(extra="forbid")

    wait: int = Field(default=0, ge=0, le=MAX_WAIT, description="Seconds.")


class RunsQuery(BaseModel):
    """Which runs, and from where on."""

    model_config = ConfigDict(extra="forbid")

    state: RunState | None = None
    task_type: _Slug | None = None
    after: Annotated[str, Field(max_length=200)] | None = None
    limit: int = Field(default=50, ge=1, le=100)


class EventsQuery(BaseModel):
    """Which events of a run."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(default=0, ge=0, le=2**53 - 1)
    limit: int = Field(default=100, ge=1, le=500)
