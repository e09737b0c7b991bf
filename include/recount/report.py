"""What was compared and what differs, for people and for `assert report.ok, report.render()`."""

from dataclasses import dataclass

from recount.ledger import Decision

SHOWN_DIFFERENCES = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison.

    Attributes:
        name: what was compared with what.
        compared: how many things were; 0 says that the comparison had nothing to judge.
        differences: each names its offset, key or number. Empty: all agree.
        note: what could not be judged fully, and why.
    """

    name: str
    compared: int
    differences: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """Offsets `[start, end)` of the source that were not counted again, and why.

    Attributes:
        where: topic and partition.
        batches: those that have them; a batch is all or nothing.
        decision_id: of a loss, by which decision.
    """

    why: str
    where: str
    start: int
    end: int
    batches: tuple[int, ...]
    decision_id: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All comparisons of one check.

    Attributes:
        pipeline: its name.
        messages: how many covered input messages were counted again. A test asserts on it: 0 proves nothing.
        rejected: how many of them are rejects by the check's own rule.
        findings: the comparisons, in the order of the data's path.
        batches: how many batches were counted again.
        read: how many messages of the source were read.
        on_trust: what could not be counted again; what the ledger has of it was taken as it is.
        losses: what was never counted, by whose decision.
        decisions: what people have decided about the pipeline.
    """

    pipeline: str
    messages: int
    rejected: int
    findings: tuple[Finding, ...]
    batches: int = 0
    read: int = 0
    on_trust: tuple[Part, ...] = ()
    losses: tuple[Part, ...] = ()
    decisions: tuple[Decision, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not any(finding.differences for finding in self.findings)

    @property
    def differences(self) -> tuple[str, ...]:
        """All differences, each with the name of its comparison."""
        return tuple(f"{finding.name}: {text}" for finding in self.findings for text in finding.differences)

    def render(self) -> str:
        """The report as text: a table, then the differences."""
        head = f"{self.pipeline}: {self.messages} input messages counted again, {self.rejected} of them rejects"
        if not self.messages:
            head += " (NOTHING TO COUNT: this report proves nothing about messages)"
        width = max((len(finding.name) for finding in self.findings), default=0)
        rows = [_row(finding, width) for finding in self.findings]
        return "\n".join([head, *rows, *self._uncounted(), *self._details(), self._verdict()])

    def _uncounted(self) -> list[str]:
        decisions = {decision.decision_id: decision for decision in self.decisions}
        lines = [
            f"  not counted again: {part.where} {part.start}..{part.end - 1}, {part.why}" for part in self.on_trust
        ]
        for part in self.losses:
            decision = decisions.get(part.decision_id or 0)
            who = f"by {decision.decided_by}, {decision.decided_at}: {decision.reason}" if decision else "by nobody"
            lines.append(f"  never counted: {part.where} {part.start}..{part.end - 1}, accepted {who}")
        return lines

    def _details(self) -> list[str]:
        lines = []
        for finding in self.findings:
            shown = finding.differences[:SHOWN_DIFFERENCES]
            lines += [f"  {finding.name}: {text}" for text in shown]
            if len(finding.differences) > len(shown):
                lines.append(f"  {finding.name}: … and {len(finding.differences) - len(shown)} more")
        return lines

    def _verdict(self) -> str:
        count = sum(len(finding.differences) for finding in self.findings)
        return "all agrees" if not count else f"{count} differences"


def _row(finding: Finding, width: int) -> str:
    verdict = f"{len(finding.differences)} DIFFER" if finding.differences else "agree"
    note = f" ({finding.note})" if finding.note else ""
    return f"  {finding.name:<{width}}  {finding.compared:>10}  {verdict}{note}"
