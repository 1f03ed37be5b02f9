"""The agent's real belief logic, and the same with one rule taken away."""

from collections.abc import Collection
from dataclasses import replace

from contract_model.rules import Rule

from edge_agent.domain.delivery import AckEffect, Delivery, InFlight, Policy
from protocol.messages import Ack


class TrustsOldAcks(Delivery):
    """Takes an ack of an older incarnation for news."""

    def on_ack(self, ack: Ack, now_s: float) -> AckEffect:
        """Take in whatever the hub ever said."""
        return super().on_ack(replace(ack, incarnation=max(ack.incarnation, self.incarnation)), now_s)


class KeepsBelief(Delivery):
    """Notes a higher incarnation and goes on believing what it believed."""

    def _forget_belief(self, incarnation: int) -> None:
        self.incarnation = incarnation


class NeverResends(Delivery):
    """Waits for ever for an ack."""

    def expire(self, now_s: float) -> list[InFlight]:  # noqa: ARG002 - the signature is the real one's
        """Give nothing up."""
        return []


class NamesUnfinishedStreams(Delivery):
    """Leaves fully committed streams out of its hellos, which is enough for everything but a restored hub."""

    def streams_to_name(self, *, everything: bool) -> list[bytes]:  # noqa: ARG002 - the signature is the real one's
        """Name what is outstanding, and the live stream."""
        return [name for name, belief in self.streams.items() if belief.outstanding or name == self._live]


_WITHOUT: dict[Rule, type[Delivery]] = {
    Rule.IGNORE_OLD_INCARNATION: TrustsOldAcks,
    Rule.DROP_BELIEF_ON_REWIND: KeepsBelief,
    Rule.HELLO_NAMES_ALL_HELD: NamesUnfinishedStreams,
    Rule.RESEND_AFTER_TIMEOUT: NeverResends,
}


def make_delivery(removed: Collection[Rule], policy: Policy, incarnation: int) -> Delivery:
    """Make the agent's belief logic, without the rules in `removed`."""
    kind = next((variant for rule, variant in _WITHOUT.items() if rule in removed), Delivery)
    return kind(policy, incarnation=incarnation)
