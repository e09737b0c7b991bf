"""The headline run: five pipelines under load, killed and stopped wherever that can be, while somebody reads along.

`make faults` runs it on a stack of its own, Airflow included (`python -m faults.headline`); `test_headline.py` runs a
short one. The parts:

- `plan`: what is killed, where and in which order; a function of the seed.
- `feed`: puts messages on the source topics all the while.
- `work`: runs the pipelines in processes that are killed and stopped.
- `servers`: kills, stops and starts Kafka, PostgreSQL and Airflow.
- `watcher`: a process that reads every output topic from beginning to end of the run.
- `judge`: what the watcher saw, against what the input gives.
- `story`: all of it together. `report`: what is printed.

The plan of a seed is always the same, and so are the messages but for their times. What each process was doing when
something else was killed is not: a seed repeats the blows, not the run.
"""
