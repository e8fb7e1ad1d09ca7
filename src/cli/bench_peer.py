# The peer's side of `storehand bench model`: what bench_model.rs measures, through llama-cpp-python.
# Work comes as JSON on stdin; figures go as JSON to stdout.
import json, sys, time

import llama_cpp
from llama_cpp import Llama

work = json.load(sys.stdin)


def resident_mb():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096 / 1e6


def load(n_ctx):
    return Llama(work["gguf"], n_ctx=n_ctx, n_batch=512, n_threads=work["threads"],
                 n_threads_batch=work["threads"], verbose=False)


def messages(client):
    text = work["turn"].replace("1000", str(1000 + client))
    return [{"role": "system", "content": work["policy"]}, {"role": "user", "content": text}]


figures = {"alone_per_core": 0.0}
model = load(2048)
figures["loaded_mb"] = resident_mb()

tokens = model.tokenize(("Number one is a mug of colour seven, " * 200).encode())[: work["read"]]
for _ in range(2):
    model.reset()
    began = time.perf_counter()
    model.eval(tokens)
    figures["reading"] = len(tokens) / (time.perf_counter() - began)


def batch_decode(rows):
    """Tokens a second of `rows` sequences that each write one token a run."""
    params = llama_cpp.llama_model_default_params()
    loaded = llama_cpp.llama_model_load_from_file(work["gguf"].encode(), params)
    setting = llama_cpp.llama_context_default_params()
    setting.n_ctx, setting.n_batch, setting.n_seq_max = 256 * rows, 2048, rows
    setting.n_threads = setting.n_threads_batch = work["threads"]
    context = llama_cpp.llama_init_from_model(loaded, setting)
    batch = llama_cpp.llama_batch_init(2048, 0, 1)

    def fill(entries):
        batch.n_tokens = len(entries)
        for at, (token, position, row, wanted) in enumerate(entries):
            batch.token[at], batch.pos[at] = token, position
            batch.n_seq_id[at], batch.seq_id[at][0], batch.logits[at] = 1, row, wanted

    for row in range(rows):
        fill([(token, at, row, at == 63) for at, token in enumerate(tokens[:64])])
        assert llama_cpp.llama_decode(context, batch) == 0
    began = 0
    for step in range(work["write"] + 1):
        if step == 1:  # The first run is slower.
            began = time.perf_counter()
        fill([(tokens[step], 64 + step, row, True) for row in range(rows)])
        assert llama_cpp.llama_decode(context, batch) == 0
        for row in range(rows):  # Somebody reads the logits.
            llama_cpp.llama_get_logits_ith(context, row)[0]
    speed = rows * work["write"] / (time.perf_counter() - began)
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(loaded)
    return speed


figures["writing"] = [batch_decode(rows) for rows in work["batches"]]


def reply(client, most):
    return model.create_chat_completion(messages(client), max_tokens=most, temperature=0.0)


def timed(client, most):
    began = time.perf_counter()
    reply(client, most)
    return time.perf_counter() - began


model.reset()
figures["first_token"] = timed(0, 1)
figures["first_token_kept"] = timed(1, 1)

# One after another, with what the last prompt began with kept: it has no more to offer in one process.
began, cpu, times = time.perf_counter(), time.process_time(), []
served = min(work["clients"], 16)
for client in range(served):
    timed(client, work["reply"])
    times.append((time.perf_counter() - began) * work["clients"] / served)
took = time.perf_counter() - began
figures["replies"] = served / took
figures["replies_per_core"] = served / (time.process_time() - cpu)
figures["p50"], figures["p99"] = times[len(times) // 2], times[-1]
cpu = time.process_time()
for client in range(3):
    model.reset()
    reply(client, work["reply"])
figures["alone_per_core"] = 3 / (time.process_time() - cpu)
figures["resident_mb"] = resident_mb()
print(json.dumps(figures))
