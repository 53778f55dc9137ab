// The trees of function secret sharing (`ggm.py`): a thread walks one key, or one point on one key, from root to leaf.
// Blocks stay in registers; what a level needs, its correction words, lies together for all keys.

// All ones where x goes right at `level` (0 is the root).
INLINE u64 path(u64 x, i64 level, i64 bits) { return spread(x, (int)(bits - 1 - level)); }

INLINE u64 control(Block s) { return spread(s.low, 0); }

INLINE Block descend(const u32* table, Block s, u64 right, Block cw) {
    return hashed(table, s, CHILD) ^ (s & right) ^ (cw & control(s));
}

INLINE Block one_hot(u64 at) {
    u64 bit = 1ull << (at & 63), high = spread(at, 6);
    return {bit & ~high, bit & high};
}

// Bits 0 … `at` mod 128.
INLINE Block up_to(u64 at) {
    u64 some = (2ull << (at & 63)) - 1, high = spread(at, 6);
    return {some | high, some & high};
}

INLINE u64 parity(Block s) {
    u64 v = s.low ^ s.high;
    for (int shift = 32; shift; shift >>= 1) v ^= v >> shift;
    return v & 1;
}

// ---- point functions

KERNEL dpf_gen(const u64* alpha, const u64* root0, const u64* root1, u64* out, i64 n, i64 bits) {
    __shared__ u32 shared[TABLE_WORDS];
    const u32* table = lane_table(shared);
    i64 leaf = bits - LEAF_BITS;
    EACH(i, n) {
        u64 a = alpha[i];
        Block s0 = load(root0, i), s1 = load(root1, i), delta = s0 ^ s1;
        for (i64 level = 0; level < leaf; level++) {
            u64 right = path(a, level, bits);
            Block h0 = hashed(table, s0, CHILD), h1 = hashed(table, s1, CHILD), cw = h0 ^ h1 ^ (delta & ~right);
            store(out, level * n + i, cw);
            s0 = h0 ^ (s0 & right) ^ (cw & control(s0));
            s1 = h1 ^ (s1 & right) ^ (cw & control(s1));
        }
        store(out, leaf * n + i, hashed(table, s0, LEAF) ^ hashed(table, s1, LEAF) ^ one_hot(a));
    }
}

// Shares of 1{x = alpha}, or with `prefix` of 1{alpha ≤ x}, at `points` points on each key.
KERNEL dpf_points(
    const u64* x, const u64* root, const u64* cw, u8* out, i64 n, i64 points, i64 bits, i64 prefix
) {
    __shared__ u32 shared[TABLE_WORDS];
    const u32* table = lane_table(shared);
    i64 leaf = bits - LEAF_BITS;
    EACH(p, points * n) {
        i64 i = p % n;
        u64 at = x[p], total = 0, before = 0;
        Block s = load(root, i);
        for (i64 level = 0; level < leaf; level++) {
            u64 right = path(at, level, bits);
            total ^= (right ^ before) & s.low;  // where the path turns, the control bit enters; it is bit 0
            s = descend(table, s, right, load(cw, level * n + i)), before = right;
        }
        Block values = hashed(table, s, LEAF) ^ (load(cw, leaf * n + i) & control(s));
        Block some = up_to(at) ^ Block{before, before}, one = one_hot(at);
        Block mask = prefix ? some : one;
        out[p] = (u8)(parity({values.low & mask.low, values.high & mask.high}) ^ (prefix ? total & 1 : 0));
    }
}

// The leaves below one node, from left to right, `height` levels down: calls leaf(number, node) for each. What lies to
// the right waits until its turn: one node a level.
template <typename Leaf>
INLINE void leaves(const u32* table, const u64* cw, i64 n, i64 i, i64 depth, int height, Block s, Leaf leaf) {
    Block waiting[MOST_BELOW];
    for (i64 number = 0; number < 1ll << height; number++) {
        int up = height;
        if (number) {  // after number - 1 leaves, the node that waits is as high as `number` has zeros at its end
            for (up = 0; !(number >> up & 1); up++) {}
            s = waiting[up];
        }
        while (up--) {
            Block left = hashed(table, s, CHILD) ^ (load(cw, (depth - up - 1) * n + i) & control(s));
            waiting[up] = left ^ s, s = left;
        }
        leaf(number, hashed(table, s, LEAF) ^ (load(cw, depth * n + i) & control(s)));
    }
}

// All values. A thread goes down to one of the nodes `below` levels above the leaves, and spells out what is under it.
KERNEL dpf_all(const u64* root, const u64* cw, u64* out, i64 n, i64 bits, i64 below) {
    __shared__ u32 shared[TABLE_WORDS];
    const u32* table = lane_table(shared);
    i64 depth = bits - LEAF_BITS, above = depth - below;
    EACH(p, n << above) {
        i64 i = p >> above, branch = p & ((1ll << above) - 1);
        Block s = load(root, i);
        for (i64 level = 0; level < above; level++)
            s = descend(table, s, path(branch, level, above), load(cw, level * n + i));
        leaves(table, cw, n, i, depth, (int)below, s,
               [&](i64 number, Block values) { store(out, (p << below) + number, values); });
    }
}

// ---- comparisons with a payload

KERNEL dcf_gen(
    const u64* alpha, const u64* beta, const u64* root0, const u64* root1, u64* cws, u64* sums, i64 n, i64 blocks,
    i64 bits
) {
    __shared__ u32 shared[TABLE_WORDS];
    const u32* table = lane_table(shared);
    EACH(i, n) {
        u64 a = alpha[i], before = 0;
        Block s0 = load(root0, i), s1 = load(root1, i), delta = s0 ^ s1;
        for (i64 level = 0; level <= bits; level++) {
            u64 right = level < bits ? path(a, level, bits) : 0, negative = control(s1);
#pragma unroll 1
            for (i64 j = 0; j < blocks; j++) {
                Block payload = load(beta, j * n + i);
                Block v0 = hashed(table, s0, VALUE * (1 + j)), v1 = hashed(table, s1, VALUE * (1 + j));
                // Both parties' sums make the payload; party 1 subtracts, so what it corrects has a sign.
                u64 low = (payload.low & right) - (payload.low & before) - v0.low + v1.low;
                u64 high = (payload.high & right) - (payload.high & before) - v0.high + v1.high;
                store(sums, (level * blocks + j) * n + i, {(low ^ negative) - negative, (high ^ negative) - negative});
            }
            if (level == bits) break;
            Block h0 = hashed(table, s0, CHILD), h1 = hashed(table, s1, CHILD), cw = h0 ^ h1 ^ (delta & ~right);
            store(cws, level * n + i, cw);
            s0 = h0 ^ (s0 & right) ^ (cw & control(s0));
            s1 = h1 ^ (s1 & right) ^ (cw & control(s1));
            before = right;
        }
    }
}

// A thread adds up to PAYLOADS blocks of payload along its walk; for more of them other threads walk again.
#define PAYLOADS 4

KERNEL dcf_eval(
    const u64* x, const u64* root, const u64* cw, const u64* vcw, u64* out, i64 n, i64 points, i64 blocks, i64 bits
) {
    __shared__ u32 shared[TABLE_WORDS];
    const u32* table = lane_table(shared);
    i64 groups = (blocks + PAYLOADS - 1) / PAYLOADS;
    EACH(p, points * n * groups) {
        i64 i = p % n, k = p / n % points, first = p / n / points * PAYLOADS;
        u64 at = x[k * n + i];
        Block s = load(root, i), total[PAYLOADS] = {};
        for (i64 level = 0; level <= bits; level++) {
            u64 mine = control(s);
#pragma unroll 1  // an unrolled walk would not fit the cache for instructions
            for (int j = 0; j < PAYLOADS && first + j < blocks; j++) {
                Block value = hashed(table, s, VALUE * (1 + first + j));
                Block correction = load(vcw, (level * blocks + first + j) * n + i) & mine;
                total[j].low += value.low + correction.low, total[j].high += value.high + correction.high;
            }
            if (level < bits) s = descend(table, s, path(at, level, bits), load(cw, level * n + i));
        }
        for (int j = 0; j < PAYLOADS && first + j < blocks; j++)
            store(out, (k * blocks + first + j) * n + i, total[j]);
    }
}
