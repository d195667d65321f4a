from __future__ import annotations

import numpy as np
import pytest

from espfleet.domain.samples import Batch, pack, unpack


@pytest.mark.parametrize("step_ns", [0, 1_000_000, 5_000_000_000, 3_600_000_000_000])
def test_a_batch_survives_packing_however_far_apart_its_probes_are(step_ns: int) -> None:
    batch = Batch(np.array([0, 2], np.int32), np.array([1.5, -1.0], np.float32), 1_795_000_000_000_000_000, step_ns)
    found = unpack(pack(batch))
    assert (found.at_ns, found.step_ns) == (batch.at_ns, step_ns)
    assert found.slots.tolist() == [0, 2]
    assert found.rtt_us.tolist() == [1.5, -1.0]
    assert found.sent_ms().tolist() == [batch.at_ns // 1_000_000, (batch.at_ns + 2 * step_ns) // 1_000_000]
