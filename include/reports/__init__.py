"""Reports over the results of pipelines: what other DAGs make of them."""
