// Words and bits: the ends of gates, and what is made of masked digits (`reference.py`).

KERNEL beaver(
    const u64* c, const u64* d, const u64* b, const u64* a, const u64* e, u64* out, i64 n, i64 first
) {
    EACH(i, n) out[i] = c[i] + d[i] * b[i] + (first ? a[i] + d[i] : a[i]) * e[i];
}

KERNEL choose(const u64* x, const u64* x_hat, const u8* b_hat, const u64* s, const u64* rs, u64* out, i64 n) {
    EACH(i, n) {
        u64 product = x_hat[i] * s[i] - rs[i];
        out[i] = b_hat[i] ? x[i] - product : product;
    }
}

// ---- bits

// A warp transposes 64 words of a row: lane l votes with words l and 32 + l, and lane p keeps what plane p is.
KERNEL to_planes(const u64* v, u64* out, i64 rows, i64 n, i64 bits) {
    i64 words = (n + 63) / 64, lane = threadIdx.x & 31;
    EACH_WARP(w, rows * words) {
        i64 row = w / words, at = w % words * 64 + lane;
        u64 left = at < n ? v[row * n + at] : 0, right = at + 32 < n ? v[row * n + at + 32] : 0;
        for (i64 start = 0; start < bits; start += 32) {
            u64 kept = 0;
            for (int p = 0; p < 32; p++) {
                u64 low = __ballot_sync(EVERYONE, left >> (start + p) & 1);
                u64 high = __ballot_sync(EVERYONE, right >> (start + p) & 1);
                if (p == lane) kept = low | high << 32;
            }
            if (start + lane < bits) out[(start + lane) * rows * words + w] = kept;
        }
    }
}

KERNEL from_planes(const u64* planes, u64* out, i64 bits, i64 rows, i64 words, i64 n) {
    EACH(i, rows * n) {
        i64 row = i / n, at = i % n;
        u64 v = 0;
        for (i64 p = 0; p < bits; p++) v |= (planes[(p * rows + row) * words + at / 64] >> (at % 64) & 1) << p;
        out[i] = v;
    }
}

// One word of the packed bytes a thread; `size` is the bytes of an element, 1 for a bit that is stored as a byte.
KERNEL pack(const u8* v, u64* out, i64 n, i64 bits, i64 size) {
    EACH(w, (n * bits + 63) / 64) {
        i64 i = w * 64 / bits, from = w * 64 % bits, have = 0;  // the element that the word begins in, and where
        u64 mask = ~0ull >> (64 - bits), word = 0;
        for (; have < 64 && i < n; i++, from = 0) {
            u64 element = size == 1 ? v[i] : ((const u64*)v)[i];
            word |= (element & mask) >> from << have;
            have += bits - from;
        }
        out[w] = word;
    }
}

KERNEL unpack(const u8* data, u64* out, i64 n, i64 bits) {
    int spare = (int)(64 - bits);
    EACH(i, n) {
        i64 at = i * bits, have = 8 - at % 8, byte = at / 8;
        u64 v = data[byte] >> (at % 8);
        for (; have < bits; have += 8) v |= (u64)data[++byte] << have;
        out[i] = (u64)((i64)(v << spare) >> spare);  // the signed representative
    }
}

KERNEL unpack_bits(const u8* data, u8* out, i64 n) {
    EACH(i, n) out[i] = data[i / 8] >> (i % 8) & 1;
}

// ---- digits

#define ENTRIES (1 << DIGIT)

KERNEL digit_tables(const u64* planes, u64* out, i64 digits, i64 words) {
    EACH(p, digits * words) {
        i64 digit = p / words, w = p % words;
        u64 hot[ENTRIES] = {~0ull};
#pragma unroll
        for (int j = 0; j < DIGIT; j++) {  // doubling: entry v of the next table has bit j of v
            u64 bit = planes[(digit * DIGIT + j) * words + w];
#pragma unroll  // to a fixed bound, or the table would not stay in registers
            for (int v = 0; v < ENTRIES / 2; v++)
                if (v < 1 << j) hot[v | 1 << j] = hot[v] & bit, hot[v] &= ~bit;
        }
#pragma unroll
        for (int v = 0; v < ENTRIES; v++) out[(digit * ENTRIES + v) * words + w] = hot[v];
    }
}

KERNEL digit_compare(const u64* planes, const u64* tables, u64* less, u64* equal, i64 digits, i64 thresholds, i64 words) {
    EACH(p, digits * thresholds * words) {
        i64 digit = p / words / thresholds, t = p / words % thresholds, w = p % words;
        u64 table[ENTRIES], below = 0;
#pragma unroll
        for (int v = 0; v < ENTRIES; v++) table[v] = tables[(digit * ENTRIES + v) * words + w];
#pragma unroll
        for (int j = DIGIT - 1; j >= 0; j--) {
            u64 bit = planes[((digit * DIGIT + j) * thresholds + t) * words + w], above = 0;
#pragma unroll
            for (int v = 0; v < ENTRIES / 2; v++) {
                if (v >= 1 << j) break;
                u64 high = table[v | 1 << j];
                above ^= high, table[v] ^= (table[v] ^ high) & bit;
            }
            below ^= above & ~bit;  // v goes left, and r lies to the right: v < r
        }
        less[p] = below, equal[p] = table[0];
    }
}

// `steps` are the terms of a node, five numbers each: the row of `dealt` (-1: all ones) and four rows of `opened` (-1:
// none); those of output 0 come first, `ends` says where each output's end.
KERNEL tree_node(const u64* opened, const u64* dealt, const i64* steps, const i64* ends, u64* out, i64 outputs, i64 words) {
    EACH(p, outputs * words) {
        i64 which = p / words, w = p % words;
        u64 total = 0;
        for (i64 step = which ? ends[which - 1] : 0; step < ends[which]; step++) {
            const i64* rows = steps + 5 * step;
            u64 term = rows[0] < 0 ? ~0ull : dealt[rows[0] * words + w];
            for (int k = 1; k < 5; k++)
                if (rows[k] >= 0) term &= opened[rows[k] * words + w];
            total ^= term;
        }
        out[p] = total;
    }
}

// ---- look-ups

INLINE u64 gathered(u64 v, bool is_xor) {
    for (int lane = 16; lane; lane >>= 1) {
        u64 other = __shfl_xor_sync(EVERYONE, v, lane);
        v = is_xor ? v ^ other : v + other;
    }
    return v;
}

// A warp joins what one element's code chooses from each table: lanes stand on neighbouring entries.
KERNEL look_up(
    const u64* x_hat, const u64* hot, const u64* tables, u64* out, i64 n, i64 size, i64 count, i64 is_xor, i64 negative
) {
    i64 codes = size < 64 ? 1 : size / 64, lane = threadIdx.x & 31;
    EACH_WARP(p, n * count) {
        i64 i = p % n;
        const u64* table = tables + p / n * size;
        u64 total = 0;
        for (i64 v = lane; v < size; v += 32) {
            u64 chosen = table[(x_hat[i] - v) & (size - 1)] & spread(hot[i * codes + v / 64], v % 64);
            total = is_xor ? total ^ chosen : total + chosen;
        }
        total = gathered(total, is_xor);
        if (lane == 0) out[p] = negative ? -total : total;
    }
}
