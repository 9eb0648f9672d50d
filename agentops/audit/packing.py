"""How the text of a row is stored: compressed against a dictionary of what such texts are made of.

What is hashed, chained, shown and exported is the text. Stored, it starts with the number of the dictionary and a
checksum, so that no change of a stored byte goes unnoticed; a text that packing does not make smaller is stored as it
is, and always starts with a brace.
"""

import zlib
from typing import TYPE_CHECKING, Any, Final

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

MAX_TEXT: Final = 64 * 1024 * 1024
"""Bytes that a stored text may unpack to."""

_LEVEL: Final = 6
_RAW_DEFLATE: Final = -15

# Never changed: what was packed with a dictionary is unpacked with the same one. A better one gets the next number.
# What occurs most often stands last (zlib, "deflateSetDictionary").
_FIRST: Final = (
    b'"input":{"message_id":"M-0001"},"order_ref":"A-1001","currency":"EUR","amount_minor":,"reason":""'
    b'"limits":{"attempts":4,"calls_per_step":4,"model_calls":16,"plans":4,"repeats":2,"steps":8,"wall_time_s":900}'
    b',"origin":"submitted","origin":"api","instructions":"","stop_when":"","success_when":"steps..outcome == '
    b',"planner":"model:","planning":"reactive","planner":"playbook:@1","planning":"plan_first","requested_by":"user:'
    b'","task_type":"","tools":{"":{"authority":["","email","to"],"digest":"","version":"1.0.0"},'
    b'"type":"run.submitted","v":1}"type":"run.failed","code":"tool_failed","message":"","type":"run.cancelled","reason":""'
    b'"type":"plan.failed","type":"step.skipped","reason":"condition","detail":"steps..output. == "'
    b'"type":"call.denied","code":"not_allowed","rule":"allowlist.denied","type":"call.deferred","until":"'
    b'"type":"call.failed","code":"unavailable","retry_at":"+00:00","type":"call.unknown","type":"call.reconciled"'
    b'"verdict":"happened","by":"hook","type":"proposal.expired","type":"proposal.withdrawn","reason":"The run ended."'
    b'{"actor":{"id":"1","kind":"user","name":"@.example","roles":["operator","senior"]},"data":{"by":"","call_id":"1.'
    b'","grant_id":"01a2","proposal_id":"01a2","verdict":"approve","version":1},"type":"proposal.decided","v":1}'
    b'"verdict":"reject","reason_code":"","note":"","patch":[{"op":"replace","path":"/","value":}]'
    b'{"actor":{"id":"","kind":"token","name":"","roles":["run.submit"]},"data":{"input":{'
    b'"plan":{"answers":[{"text":{"$text":["",{"$ref":"steps..output."}]},"when":"steps..outcome == \'succeeded\'"}],'
    b'"steps":[{"arguments":{"":{"$ref":"input."},"":{"$ref":"steps..output."}},"id":"","tool":"","when":"","expect":"output.'
    b'","on_failure":"continue","why":""}]},"tainted":false,"version":1},"tool":"","type":"plan.made"}'
    b'{"data":{"band":"high","call_id":"1.","decide_by":"+00:00","digest":"","proposal_id":"01a2","rule":"sensitive.'
    b'financial","score":50},"type":"call.proposed"},{"data":{"state":"awaiting_approval"},"subject":["run","01a2"],"tool":""'
    b',"ts":"Z","type":"run.waiting"}],"headline":1,"effect":"idempotent_write","effect":"unsafe_write","sensitive.'
    b'external_communication","sensitive.data_deletion","sensitive.permission_change","provenance.untrusted_authority"'
    b'{"data":{"attempt":1,"call_id":"1.","grant_id":""},"tool":"","type":"call.started"}],"headline":1,"integrity":'
    b'"untrusted","readers":null,"sources":[{"kind":"tool","path":"/","ref":"mail.read:1.'
    b'{"actor":{"id":":","kind":"worker","name":"Worker","roles":[]},"events":[{"data":{"attempt":1,"worker":""},'
    b'"subject":["run","01a2"],"tool":"","ts":"2026-11-25T16:00:00.000000Z","type":"run.claimed"},'
    b'{"data":{"arguments":{"":""},"call_id":"1.s1.0","digest":"","effect":"read","idempotency_key":"","planned":true,'
    b'"provenance":{"/":{"integrity":"trusted","readers":null,"sources":[{"kind":"operator","path":"/input/","ref":"token:'
    b'"}]},"/":{"integrity":"trusted","readers":null,"sources":[{"kind":"constant","path":"","ref":"playbook:@1"}]}},'
    b'"step_id":"","tool":"","version":"1.0.0"},"ts":"2026-","type":"call.selected"},{"data":{"call_id":"1.","grant_id":'
    b'"01a2","rule":"allowlist.auto"},"ts":"2026-","type":"call.granted"},{"data":{"attempt":1,"call_id":"1.","digest":"'
    b'","duration_ms":0,"output":{"":""},"trust":{"":"trusted","":"untrusted","":"inherit"}},"type":"call.succeeded"},'
    b'{"data":{"ok":true,"step_id":""},"subject":["step",""],"tool":"","ts":"2026-11-","type":"step.verified"}],'
    b'"headline":2,"run":"01a2","seq":11,"stream":"run:01a2","subject":{"id":"1.","kind":"call"},"tenant":"","tool":"",'
    b'"ts":"2026-","type":"call.succeeded","v":2}'
)
_DICTIONARIES: Final = {1: _FIRST}


def pack(text: str) -> bytes:
    """Return how a text is stored."""
    plain = text.encode("utf-8")
    squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW_DEFLATE, zdict=_FIRST)
    packed = squeeze.compress(plain) + squeeze.flush()
    if len(packed) + 5 >= len(plain):
        return plain
    return b"\x01" + zlib.crc32(packed).to_bytes(4, "big") + packed


def unpack(stored: "bytes | memoryview | str") -> str:
    """Return the text that is stored; of bytes that nobody packed, as much as they say."""
    if isinstance(stored, str):
        return stored
    plain = unpack_bytes(bytes(stored))
    try:
        # Only what was packed is known to have been a text.
        return _UNREADABLE if plain is None else plain.decode("utf-8", "strict" if _is_packed(stored) else "replace")
    except UnicodeDecodeError:
        return _UNREADABLE


def unpack_bytes(stored: bytes) -> bytes | None:
    """Return the bytes of the text that is stored, None if they cannot be read."""
    dictionary = _DICTIONARIES.get(stored[0]) if stored else None
    if dictionary is None:
        return stored
    packed = stored[5:]
    if zlib.crc32(packed) != int.from_bytes(stored[1:5], "big"):
        return None
    stretch = zlib.decompressobj(_RAW_DEFLATE, zdict=dictionary)
    try:
        plain = stretch.decompress(packed, MAX_TEXT)
    except zlib.error:
        return None
    return plain if stretch.eof and not stretch.unconsumed_tail else None


def _is_packed(stored: bytes | memoryview) -> bool:
    return bool(stored) and stored[0] in _DICTIONARIES


_UNREADABLE: Final = "(the stored bytes cannot be read)"


if TYPE_CHECKING:
    _Text = models.TextField[str, str]
else:
    _Text = models.TextField


class PackedTextField(_Text):
    """A text that is packed on its way into the database and unpacked on its way out."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        return models.BinaryField().db_type(connection)

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> str | None:
        return None if value is None else unpack(value)

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        packed = pack(value) if isinstance(value, str) else value
        return models.BinaryField().get_db_prep_value(packed, connection, prepared)
