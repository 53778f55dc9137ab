// AES-128 from one table of 256 words, and the hash of the trees (`ggm.py`).
//
// SubBytes and MixColumns of one byte are a column of four: TABLE says it for the first row, and the other rows' columns
// are its rotations. The table lies in shared memory 32 times, once for each bank: lane i of a warp reads column i of
// the copies, so that no two lanes ever wait for each other, and no secret index shows in the time that a read takes.
// A column's bytes are those of a word, row 0 lowest. TABLE and ROUND_KEYS (the trees' fixed key) come from `launch.py`,
// which takes them from the reference.

#define COPIES 32
#define TABLE_WORDS (256 * COPIES)

__constant__ u32 TABLE[256] = TABLE_VALUES;
__constant__ u32 ROUND_KEYS[44] = ROUND_KEY_VALUES;

// Fills the block's shared table; returns this lane's copy. All threads of a block must call it.
INLINE const u32* lane_table(u32* shared) {
    for (u32 i = threadIdx.x; i < TABLE_WORDS; i += blockDim.x) shared[i] = TABLE[i / COPIES];
    __syncthreads();
    return shared + threadIdx.x % COPIES;
}

INLINE u32 rotated(u32 v, int up) { return (v << up) | (v >> (32 - up)); }

INLINE u32 entry(const u32* table, u32 word, int row) { return table[((word >> (8 * row)) & 255) * COPIES]; }

// One column of a round: rows 0 … 3 come from the columns a, b, c, d (ShiftRows).
INLINE u32 column(const u32* table, u32 a, u32 b, u32 c, u32 d, u32 key) {
    return entry(table, a, 0) ^ rotated(entry(table, b, 1), 8) ^ rotated(entry(table, c, 2), 16)
         ^ rotated(entry(table, d, 3), 24) ^ key;
}

// The last round has no MixColumns: bytes 1 and 2 of an entry are the bare substitution.
INLINE u32 last_column(const u32* table, u32 a, u32 b, u32 c, u32 d, u32 key) {
    return ((entry(table, a, 0) >> 8 & 0xff) | (entry(table, b, 1) & 0xff00) | (entry(table, c, 2) & 0xff0000)
         | (entry(table, d, 3) << 8 & 0xff000000)) ^ key;
}

INLINE void encrypt(const u32* table, const u32* keys, u32& a, u32& b, u32& c, u32& d) {
    a ^= keys[0], b ^= keys[1], c ^= keys[2], d ^= keys[3];
#pragma unroll
    for (int r = 1; r < 10; r++) {
        u32 p = column(table, a, b, c, d, keys[4 * r]), q = column(table, b, c, d, a, keys[4 * r + 1]);
        u32 s = column(table, c, d, a, b, keys[4 * r + 2]), t = column(table, d, a, b, c, keys[4 * r + 3]);
        a = p, b = q, c = s, d = t;
    }
    u32 p = last_column(table, a, b, c, d, keys[40]), q = last_column(table, b, c, d, a, keys[41]);
    u32 s = last_column(table, c, d, a, b, keys[42]), t = last_column(table, d, a, b, c, keys[43]);
    a = p, b = q, c = s, d = t;
}

struct Block {
    u64 low, high;
};

INLINE Block load(const u64* blocks, i64 i) { return {blocks[2 * i], blocks[2 * i + 1]}; }
INLINE void store(u64* blocks, i64 i, Block v) { blocks[2 * i] = v.low, blocks[2 * i + 1] = v.high; }
INLINE Block operator^(Block v, Block w) { return {v.low ^ w.low, v.high ^ w.high}; }
INLINE Block operator&(Block v, u64 mask) { return {v.low & mask, v.high & mask}; }

// H(s ⊕ tweak) = π(σ(x)) ⊕ σ(x), where σ(high ‖ low) = (high ⊕ low) ‖ high.   [GKWY20]
INLINE Block hashed(const u32* table, Block s, u64 tweak) {
    u64 low = s.high, high = s.high ^ s.low ^ tweak;
    u32 a = (u32)low, b = (u32)(low >> 32), c = (u32)high, d = (u32)(high >> 32);
    encrypt(table, ROUND_KEYS, a, b, c, d);
    return {low ^ (a | (u64)b << 32), high ^ (c | (u64)d << 32)};
}

KERNEL prg(const u64* blocks, u64* out, i64 n, i64 tweak) {
    __shared__ u32 shared[TABLE_WORDS];
    const u32* table = lane_table(shared);
    EACH(i, n) store(out, i, hashed(table, load(blocks, i), tweak));
}

INLINE u32 reversed(u32 v) { return v << 24 | (v << 8 & 0xff0000) | (v >> 8 & 0xff00) | v >> 24; }

// FIPS-197 §5.2 on words whose lowest byte comes first.
INLINE void expand_key(const u32* table, const u8* key, u32* keys) {
    for (int i = 0; i < 4; i++)
        keys[i] = key[4 * i] | key[4 * i + 1] << 8 | key[4 * i + 2] << 16 | (u32)key[4 * i + 3] << 24;
    u32 constant = 1;
    for (int i = 4; i < 44; i++) {
        u32 last = keys[i - 1];
        if (i % 4 == 0) {
            u32 turned = last >> 8 | last << 24;
            last = last_column(table, turned, turned, turned, turned, constant);
            constant = constant << 1 ^ (constant >> 7) * 0x11b;
        }
        keys[i] = keys[i - 4] ^ last;
    }
}

// Counter mode under each of several keys; the first counter is first_high · 2^64 + first_low, and a counter's bytes are
// most significant first. A block of threads makes `span` blocks of one key's stream after another.
KERNEL keystream(const u8* key, u64* out, i64 keys, i64 blocks, i64 span, i64 first_high, i64 first_low) {
    __shared__ u32 shared[TABLE_WORDS];
    __shared__ u32 expanded[44];
    const u32* table = lane_table(shared);
    i64 spans = (blocks + span - 1) / span;
    for (i64 p = blockIdx.x; p < keys * spans; p += gridDim.x) {
        i64 which = p / spans, start = p % spans * span, end = start + span < blocks ? start + span : blocks;
        __syncthreads();  // the key before is not needed any more
        if (threadIdx.x == 0) expand_key(table, key + 16 * which, expanded);
        __syncthreads();
        for (i64 i = start + threadIdx.x; i < end; i += blockDim.x) {
            u64 low = (u64)first_low + i, high = (u64)first_high + (low < (u64)first_low);
            u32 a = reversed(high >> 32), b = reversed((u32)high), c = reversed(low >> 32), d = reversed((u32)low);
            encrypt(table, expanded, a, b, c, d);
            store(out, which * blocks + i, {a | (u64)b << 32, c | (u64)d << 32});
        }
    }
}
