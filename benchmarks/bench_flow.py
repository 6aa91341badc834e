"""What does a Flow cost by itself: a request, a hop, a branch, a start, a worker?

Without a network; of what is served see bench_flow_http.py and bench_flow_grpc.py. The other side is what one writes by
hand with asyncio, threads and processes. Shares are of the rate that there would be if nothing but the work took time.
"""

from pair import Row, main

BY_HAND = "by hand"

ROWS = [
    Row(name="post, 1 sync node", task="flow_post_sync_1", peer="flow_thread", side=BY_HAND, below=300e-6),
    Row(name="post, 3 sync nodes", task="flow_post_sync_3", peer="flow_thread", side=BY_HAND, below=300e-6),
    Row(name="post, 1 async node", task="flow_post_async_1", peer="flow_coroutine", side=BY_HAND, below=150e-6),
    Row(name="post, 3 async nodes", task="flow_post_async_3", peer="flow_coroutine", side=BY_HAND, below=150e-6),
    Row(name="one more async node", task="flow_hop_async", peer="flow_await", side=BY_HAND, below=1e-6),
    Row(name="one more sync node, run_in_executor", task="flow_hop_sync", peer="flow_run_in_executor",
        side=BY_HAND, within=1.5),
    Row(name="worker process, 1 KB, a raw socket", task="flow_process", peer="flow_socket", side=BY_HAND, n=1 << 10,
        within=2),
    Row(name="worker process, 1 MB, a raw socket", task="flow_process", peer="flow_socket", side=BY_HAND, n=1 << 20,
        within=2),
    Row(name="two branches and a join", task="flow_fan_out", peer="flow_gather", side=BY_HAND, within=2.5),
    Row(name="2 replicas, 5 ms of sleep, share", task="flow_replicas_sleep", peer="flow_pool_sleep", side=BY_HAND,
        above=0.9, unit="share"),
    Row(name="2 replicas, 5 ms of work, share", task="flow_replicas_burn", peer="flow_pool_burn", side=BY_HAND,
        above=0.75, unit="share"),
    Row(name="dynamic batching, 64 in flight, share", task="flow_batching", peer="flow_queue", side=BY_HAND,
        above=0.65, unit="share"),
    Row(name="rate after one of 2 replicas is killed", task="flow_killed", peer="flow_all", side="before",
        least=0.8, unit="share", fresh=True, rounds=3),
    Row(name="start, inline", task="flow_start_inline", peer="flow_start_thread", side=BY_HAND, below=50e-3),
    Row(name="start, 2 worker processes", task="flow_start_process", peer="flow_start_python", side=BY_HAND,
        below=1.0),
    Row(name="memory of this process, beside the library", task="flow_memory_inline", peer="flow_memory_library",
        side="library", within=1.2, unit="B", same_answer=False),
    Row(name="memory of a worker", task="flow_memory_worker", peer="flow_memory_numpy", side="numpy", within=2,
        unit="B", same_answer=False),
    Row(name="share of a processor when idle", task="flow_idle", peer="flow_nothing", side="nothing", below=0.01,
        unit="share", rounds=3),
]  # fmt: skip

if __name__ == "__main__":
    main(__doc__, ROWS)
