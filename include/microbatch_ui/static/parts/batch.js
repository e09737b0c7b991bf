// A batch, and where Airflow shows what made it.
import { airflowPath } from "../lib/links.js";

// From the time that it counts as "now" until its ledger commit. An archive stands for many: it took no time itself.
export function secondsOf(batch) {
  const isRun = batch.committed_at && batch.kind !== "archive";
  return isRun ? (Date.parse(batch.committed_at) - Date.parse(batch.batch_time)) / 1000 : null;
}

// Airflow's address of the log of the task that read it; null if no run of Airflow did.
export function logOf(batch) {
  const run = runOf(batch);
  return run !== null && Number.isInteger(batch.map_index) ? `${run}/tasks/consume/mapped/${batch.map_index}` : run;
}

// Airflow's address of the run that made a batch, or that failed; null if no run of Airflow did.
export function runOf({ dag_id: dagId, run_id: runId }) {
  return dagId && runId ? airflowPath("dags", dagId, "runs", runId) : null;
}
