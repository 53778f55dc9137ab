// What CUDA gives a kernel, on a host without a GPU: the device code itself is compiled by g++ behind this file.
//
// A thread of a block is a coroutine, which runs until it ends or waits for others: at a barrier of its block, or for its
// warp's votes and exchanges. A barrier that not all of them reach is an error here, as it is undefined on a card.

#include <setjmp.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdio>
#include <functional>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __constant__ static const
#define __shared__ static  // one block runs at a time
#define __forceinline__ inline

struct Index {
    unsigned x;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

namespace host {

enum State { READY, AT_BLOCK, AT_WARP, DONE };
constexpr size_t STACK = 64 << 10;

struct Thread {
    ucontext_t context;  // where it begins
    jmp_buf place;       // where it waits; a jump between stacks needs no system call, as a change of context does
    State state;
    bool begun;
    unsigned long long said;  // in a vote or an exchange
    std::vector<char> stack;
};

static std::vector<Thread> threads;
static jmp_buf scheduler;
static std::function<void()> body;
static unsigned blocks, width;

static Thread& self() { return threads[threadIdx.x]; }

static void leave(State state) {
    self().state = state;
    _longjmp(scheduler, 1);
}

static void begin() {
    body();
    leave(DONE);
}

static void wait(State state) {
    if (!_setjmp(self().place)) leave(state);
}

static void resume(unsigned i) {
    threadIdx.x = i;
    if (_setjmp(scheduler)) return;
    Thread& t = threads[i];
    if (t.begun) _longjmp(t.place, 1);
    t.begun = true;
    setcontext(&t.context);
}

// Lets those go on who wait together. False if some can never.
static bool release(unsigned from, unsigned to, State waiting) {
    unsigned here = 0, done = 0;
    for (unsigned i = from; i < to; i++) here += threads[i].state == waiting, done += threads[i].state == DONE;
    if (here && done) return false;
    if (here == to - from)
        for (unsigned i = from; i < to; i++) threads[i].state = READY;
    return true;
}

static const char* block() {
    for (unsigned i = 0; i < width; i++) {
        Thread& t = threads[i];
        if (t.stack.empty()) t.stack.resize(STACK), getcontext(&t.context);
        t.context.uc_stack.ss_sp = t.stack.data(), t.context.uc_stack.ss_size = STACK, t.context.uc_link = nullptr;
        t.state = READY, t.begun = false;
        makecontext(&t.context, begin, 0);
    }
    for (;;) {
        bool moved = false, left = false;
        for (unsigned i = 0; i < width; i++)
            if (threads[i].state == READY) moved = true, resume(i);
        for (unsigned i = 0; i < width; i += 32)
            if (!release(i, i + 32, AT_WARP)) return "lanes of a warp have left before others voted";
        if (!release(0, width, AT_BLOCK)) return "threads have left before others reached a barrier";
        for (Thread& t : threads) left |= t.state != DONE;
        if (!left) return nullptr;
        if (!moved) return "threads wait for each other";
    }
}

static const char* run(unsigned count, unsigned size, std::function<void()> kernel) {
    blocks = count, width = size, body = std::move(kernel);
    threads.resize(width);
    blockDim.x = width, gridDim.x = blocks;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        if (const char* wrong = block()) return wrong;
    return nullptr;
}

template <typename... Parameters, size_t... at>
static void call(void (*kernel)(Parameters...), const long long* values, std::index_sequence<at...>) {
    kernel((Parameters)values[at]...);
}

template <typename... Parameters>
static const char* launch(void (*kernel)(Parameters...), unsigned blocks, unsigned size, const long long* values) {
    static_assert(((sizeof(Parameters) == 8) && ...), "parameters are pointers or i64");
    return run(blocks, size, [=] { call(kernel, values, std::index_sequence_for<Parameters...>()); });
}

}  // namespace host

static void __syncthreads() { host::wait(host::AT_BLOCK); }

static void __syncwarp() { host::wait(host::AT_WARP); }

static unsigned __ballot_sync(unsigned, bool yes) {
    host::self().said = yes;
    host::wait(host::AT_WARP);
    unsigned votes = 0;
    for (unsigned lane = 0; lane < 32; lane++) votes |= (unsigned)host::threads[threadIdx.x / 32 * 32 + lane].said << lane;
    host::wait(host::AT_WARP);  // nobody says the next thing before all have heard this one
    return votes;
}

template <typename T>
static T __shfl_xor_sync(unsigned, T v, int lane) {
    host::self().said = v;
    host::wait(host::AT_WARP);
    T other = (T)host::threads[threadIdx.x ^ lane].said;
    host::wait(host::AT_WARP);
    return other;
}

static unsigned long long atomicAdd(unsigned long long* at, unsigned long long v) {
    unsigned long long before = *at;
    *at += v;
    return before;
}
