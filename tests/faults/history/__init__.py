"""History of the five pipelines, worked through twice: in order, and backwards in disorder beside a live schedule.

- `story`: what is sent, and the runs of both deployments.
- `equal`: what both have to agree on.
- `finals`: somebody who looks all the while whether a result is final too early.
"""
