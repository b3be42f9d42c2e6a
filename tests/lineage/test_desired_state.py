"""The text of a desired state is JSON, written without the json module; a run key must not depend on that."""

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from robot_assets.lineage.record import desired_state


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text()))
def test_it_is_the_md5_of_json(asset, code_version, inputs):
    text = json.dumps([asset, code_version, sorted(inputs.items())], separators=(",", ":"))
    assert desired_state(asset, code_version, inputs) == hashlib.md5(text.encode()).hexdigest()
