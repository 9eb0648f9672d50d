"""Rows of the human side: what waits for a person, what the person said, and what that allows once."""

from approvals.models.decisions import Decision, Handling, Reading, RejectReason, RejectScope, Verdict, Viewing
from approvals.models.people import Absence, Notification, Preference, SavedView, Shift, Skip, SkipReason
from approvals.models.permits import Grant, GrantSource, RuleUse, ScopedTrust
from approvals.models.proposals import Proposal, ProposalTerm, Status, TermIndex, values_of
from approvals.models.rules import BandRule, PolicyVersion, RiskWeights, StepUp

__all__ = [
    "Absence",
    "BandRule",
    "Decision",
    "Grant",
    "GrantSource",
    "Handling",
    "Notification",
    "PolicyVersion",
    "Preference",
    "Proposal",
    "ProposalTerm",
    "Reading",
    "RejectReason",
    "RejectScope",
    "RiskWeights",
    "RuleUse",
    "SavedView",
    "ScopedTrust",
    "Shift",
    "Skip",
    "SkipReason",
    "Status",
    "StepUp",
    "TermIndex",
    "Verdict",
    "Viewing",
    "values_of",
]
