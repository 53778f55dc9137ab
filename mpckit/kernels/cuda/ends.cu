// The ends of gates (`ends.py`): what a message brings goes through a gate in registers, and leaves as what is said next.

// (x̂ mod 2^width) >> by; by = 0 leaves x̂ as it is.
INLINE u64 shifted(u64 x_hat, i64 width, i64 by) {
    return by ? (x_hat >> by) & ((1ull << (width - by)) - 1) : x_hat;
}

// `size` is the bytes of an element of own, 1 for a bit that is stored as a byte.
KERNEL join_packed(const u8* own, const u8* data, u8* out, i64 n, i64 bits, i64 is_xor, i64 size) {
    int spare = (int)(64 - bits);
    EACH(i, n) {
        i64 at = i * bits, have = 8 - at % 8, byte = at / 8;
        u64 v = data[byte] >> (at % 8);
        for (; have < bits; have += 8) v |= (u64)data[++byte] << have;
        if (size == 1) {
            out[i] = own[i] ^ (u8)(v & 1);
        } else {
            u64 mine = ((const u64*)own)[i];
            ((u64*)out)[i] = (u64)((i64)((is_xor ? mine ^ v : mine + v) << spare) >> spare);
        }
    }
}

// As `dpf_points` with a prefix, at the points (x̂ >> by) - c; a thread's share is ready to be masked and opened.
KERNEL at_least(
    const u64* x_hat, const u8* sign, const u64* root, const u64* cw, const u64* thresholds, u8* out, i64 n, i64 count,
    i64 bits, i64 width, i64 by, i64 first
) {
    __shared__ u32 shared[TABLE_WORDS];
    const u32* table = lane_table(shared);
    i64 leaf = bits - LEAF_BITS;
    EACH(p, count * n) {
        i64 i = p % n;
        u64 y = shifted(x_hat[i], width, by) - thresholds[p / n], total = 0, before = 0;
        Block s = load(root, i);
        for (i64 level = 0; level < leaf; level++) {
            u64 right = path(y, level, bits);
            total ^= (right ^ before) & s.low;
            s = descend(table, s, right, load(cw, level * n + i)), before = right;
        }
        Block values = hashed(table, s, LEAF) ^ (load(cw, leaf * n + i) & control(s));
        Block mask = up_to(y) ^ Block{before, before};
        u64 less = parity({values.low & mask.low, values.high & mask.high}) ^ (total & 1);
        out[p] = (u8)(less ^ sign[i] ^ 1 ^ (first ? y >> bits & 1 : 0));
    }
}

KERNEL truncated(
    const u64* x_hat, const u64* high, const u64* top, u64* out, i64 n, i64 width, i64 by, i64 first
) {
    u64 half = 1ull << (width - 2 - by);
    EACH(i, n) {
        u64 x = x_hat[i], clear = ~spread(x, (int)(width - 1));
        out[i] = (clear & top[i]) - high[i] + (first ? shifted(x, width, by) - half : 0);
    }
}

// w_hat, u and su are read where `exact` says so.
KERNEL select_truncated(
    const u64* x_hat, const u8* b_hat, const u64* high, const u64* top, const u64* s, const u64* s_high,
    const u64* s_top, const u8* w_hat, const u64* u, const u64* su, u64* out, u64* y, i64 n, i64 width, i64 by,
    i64 first, i64 exact
) {
    u64 half = 1ull << (width - 2 - by);
    EACH(i, n) {
        u64 x = x_hat[i], clear = ~spread(x, (int)(width - 1)), open = shifted(x, width, by) - half;
        u64 value = (clear & top[i]) - high[i] + (first ? open : 0), masked = s_high[i] - (clear & s_top[i]);
        if (exact) {
            u64 flip = w_hat[i];
            value -= (flip ? -u[i] : u[i]) + (first ? flip : 0);
            masked += (flip ? s[i] - su[i] : su[i]);
        }
        u64 product = open * s[i] - masked;
        y[i] = value;
        out[i] = b_hat[i] ? value - product : product;
    }
}

// ---- look-ups under keys

#define WARPS 8  // of a block; `launch.py` starts 256 threads
#define BELOW 2  // levels that a lane spells out at most: four blocks of codes a lane are what shared memory has room for

// A warp takes 32 / 2^above keys at once: each lane spells out 2^below blocks of one key's code, as `dpf_all` does, and
// then all lanes add up what the code of one key after the other chooses, on neighbouring entries. No code is written to
// memory. Needs blocks of WARPS warps, above ≤ 5 and below ≤ BELOW.
KERNEL dpf_look_up(
    const u64* x_hat, const u64* root, const u64* cw, const u64* tables, u64* out, i64 n, i64 bits, i64 below, i64 count,
    i64 negative
) {
    __shared__ u32 shared[TABLE_WORDS];
    __shared__ u64 codes[WARPS][2 * 32 << BELOW];
    const u32* table = lane_table(shared);
    i64 depth = bits - LEAF_BITS, above = depth - below, keys = 32 >> above, size = 1ll << bits;
    i64 lane = threadIdx.x & 31;
    u64* mine = codes[threadIdx.x / 32];
    EACH_WARP(w, (n + keys - 1) / keys) {
        i64 i = w * keys + (lane >> above), branch = lane & ((1 << above) - 1);
        if (i < n) {
            Block s = load(root, i);
            for (i64 level = 0; level < above; level++)
                s = descend(table, s, path(branch, level, above), load(cw, level * n + i));
            leaves(table, cw, n, i, depth, (int)below, s,
                   [&](i64 number, Block values) { store(mine, (lane << below) + number, values); });
        }
        __syncwarp();
        for (i64 key = 0; key < keys && w * keys + key < n; key++) {
            u64 at = x_hat[w * keys + key];
            const u64* code = mine + key * (size / 64);
            for (i64 t = 0; t < count; t++) {
                u64 total = 0;
                for (i64 v = lane; v < size; v += 32)
                    total += tables[t * size + ((at - v) & (size - 1))] & spread(code[v / 64], (int)(v % 64));
                total = gathered(total, false);
                if (lane == 0) out[t * n + w * keys + key] = negative ? -total : total;
            }
        }
        __syncwarp();  // the next keys' codes go where these are read
    }
}
