"""The machines behind a log: what they attest is of every byte that came out."""

from __future__ import annotations

import hashlib

from zerosum.log.chain import Chain
from zerosum.services.machine import Machine
from zerosum.sim.programs import random_program


def test_each_stream_has_its_chain_over_all_that_came_out() -> None:
    """With one of them left out, half of what the exchange says would be compared with nothing."""
    machine, account, market = Machine(), Chain(), Chain()
    for command in random_program(1, 500):
        output = machine.apply(command)
        account.update(output.account_events)
        market.update(output.market_events)
    assert min(account.length_bytes, market.length_bytes) > 10_000
    assert (machine.account_chain.head(), machine.market_chain.head()) == (account.head(), market.head())
    assert machine.attestation().chain_head == hashlib.sha256(account.head() + market.head()).digest()
