"""What an agent tells and what it does are two things: the true target is in the sentence, where nobody can miss it."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User

from agentops.tenancy.models import Tenant
from tests.approvals.conftest import Desk, make_desk
from tests.approvals.contracts import LOOK_UP, do_nothing
from tests.approvals.lab import put, registered
from tests.browser.conftest import OpenBrowser
from tests.browser.mismatches import mismatches
from tools.registry import registry

pytestmark = pytest.mark.browser

# Where the sentence names the value (its text node's box), whether that is visible, and where the agent's story stands.
PLACE = """(sink) => {
  const sentence = document.querySelector("#sentence"), story = document.querySelector(".foreign.agent");
  const text = sentence.textContent, at = text.indexOf(sink);
  if (at < 0) return { text };
  const walker = document.createTreeWalker(sentence, NodeFilter.SHOW_TEXT);
  let before = 0, bottom = 0, width = 0;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const start = Math.max(0, at - before), end = Math.min(node.length, at + sink.length - before);
    if (start < end) {
      const range = document.createRange();
      range.setStart(node, start);
      range.setEnd(node, end);
      const box = range.getBoundingClientRect();
      bottom = Math.max(bottom, box.bottom + scrollY);
      width += box.width;
    }
    before += node.length;
  }
  return { text, bottom, width, story: Boolean(story && !story.closest("#sentence")) };
}"""


@pytest.fixture
def lab(transactional_db: None, scoped: Tenant) -> Iterator[Desk]:
    registry.register(LOOK_UP, do_nothing)
    yield make_desk(scoped)
    registry.remove(LOOK_UP.name, LOOK_UP.version)


def test_forty_of_forty_sinks_are_in_the_sentence_and_in_the_first_600_pixels(
    lab: Desk, bob: User, open_browser: OpenBrowser
) -> None:
    page = open_browser(bob)
    cases = list(mismatches())
    assert len(cases) == 40
    missed = []
    with registered():
        for tool, given, story, sink in cases:
            proposal = put(lab, tool, given, explanation=story)
            page.goto(f"proposals/{proposal.pk}")
            found = page.evaluate(PLACE, sink)
            if not (found.get("bottom", 1e9) <= 600 and found["width"] > 0 and found["story"]):
                missed.append((sink, found))
            assert story not in found["text"], "the agent's story is not in the sentence"
    assert missed == []
