"""Names of OpenTelemetry attributes, in this one place: the GenAI conventions are still in development and move.

From semantic-conventions-genai (gen_ai.*). There is no attribute for approvals yet, so those are our own (hitl.*).
"""

from typing import Final

OPERATION: Final = "gen_ai.operation.name"
INVOKE_AGENT: Final = "invoke_agent"
PLAN: Final = "plan"
CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"

AGENT_NAME: Final = "gen_ai.agent.name"
CONVERSATION: Final = "gen_ai.conversation.id"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - the name of an attribute
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL: Final = "gen_ai.tool.call.id"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
ERROR: Final = "error.type"

OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105 - the name of a metric

APPROVAL_VERDICT: Final = "hitl.approval.verdict"
APPROVAL_BAND: Final = "hitl.approval.risk_band"
APPROVAL_RULE: Final = "hitl.approval.rule"
PROPOSAL: Final = "hitl.approval.proposal.id"

TENANT: Final = "agentops.tenant"
OUTCOME: Final = "agentops.run.outcome"
ORIGIN: Final = "agentops.run.origin"
PROCESS: Final = "agentops.process"
"""web, or the name of the worker."""
