// Products of matrices of words, for shapes on which limbs (`products.py`) do not pay.

#define TILE 64
#define DEEP 16
#define THREADS 256  // the tiles' loops are written for this many: 16 · 16, each with 4 · 4 words of the tile

// out[z] = a[z] · b[z], all contiguous. A block makes a tile of 64 · 64 words, from tiles in shared memory.
KERNEL matmul_tiles(const u64* a, const u64* b, u64* out, i64 batch, i64 rows, i64 inner, i64 columns) {
    __shared__ u64 left[DEEP][TILE + 1], right[DEEP][TILE];
    int down = threadIdx.x / 16, across = threadIdx.x % 16;
    i64 tall = (rows + TILE - 1) / TILE, wide = (columns + TILE - 1) / TILE;
    for (i64 tile = blockIdx.x; tile < batch * tall * wide; tile += gridDim.x) {
        i64 z = tile / (tall * wide), row0 = tile / wide % tall * TILE, column0 = tile % wide * TILE;
        u64 total[4][4] = {};
        for (i64 k0 = 0; k0 < inner; k0 += DEEP) {
            for (int at = threadIdx.x; at < TILE * DEEP; at += THREADS) {
                i64 row = row0 + at / DEEP, k = k0 + at % DEEP;
                left[at % DEEP][at / DEEP] = row < rows && k < inner ? a[(z * rows + row) * inner + k] : 0;
                i64 column = column0 + at % TILE;
                k = k0 + at / TILE;
                right[at / TILE][at % TILE] = column < columns && k < inner ? b[(z * inner + k) * columns + column] : 0;
            }
            __syncthreads();
#pragma unroll
            for (int k = 0; k < DEEP; k++)
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int j = 0; j < 4; j++) total[i][j] += left[k][down + 16 * i] * right[k][across + 16 * j];
            __syncthreads();
        }
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) {
                i64 row = row0 + down + 16 * i, column = column0 + across + 16 * j;
                if (row < rows && column < columns) out[(z * rows + row) * columns + column] = total[i][j];
            }
    }
}

// Few rows: what counts is to read b once. FEW rows go together, and STRETCH words of a column to a thread; out is zero
// before. Sums modulo 2^64 are the same in any order, so atomic ones give the same bits every time.
#define FEW 8
#define STRETCH 256

// b [inner, columns], contiguous: neighbouring threads read neighbouring columns.
KERNEL rows_by_matrix(const u64* a, const u64* b, u64* out, i64 rows, i64 inner, i64 columns) {
    i64 pieces = (inner + STRETCH - 1) / STRETCH;
    EACH(p, columns * pieces) {
        i64 column = p % columns, start = p / columns * STRETCH;
        i64 end = start + STRETCH < inner ? start + STRETCH : inner;
        for (i64 row0 = 0; row0 < rows; row0 += FEW) {
            u64 total[FEW] = {};
            for (i64 k = start; k < end; k++) {
                u64 word = b[k * columns + column];
#pragma unroll
                for (int i = 0; i < FEW; i++)
                    if (row0 + i < rows) total[i] += a[(row0 + i) * inner + k] * word;
            }
#pragma unroll
            for (int i = 0; i < FEW; i++)
                if (row0 + i < rows) atomicAdd(&out[(row0 + i) * columns + column], total[i]);
        }
    }
}

// b's columns contiguous, as in `x @ weight.T`: a warp goes along one of them.
KERNEL rows_by_columns(const u64* a, const u64* b, u64* out, i64 rows, i64 inner, i64 columns) {
    i64 lane = threadIdx.x & 31;
    EACH_WARP(column, columns) {
        for (i64 row0 = 0; row0 < rows; row0 += FEW) {
            u64 total[FEW] = {};
            for (i64 k = lane; k < inner; k += 32) {
                u64 word = b[column * inner + k];
#pragma unroll
                for (int i = 0; i < FEW; i++)
                    if (row0 + i < rows) total[i] += a[(row0 + i) * inner + k] * word;
            }
#pragma unroll
            for (int i = 0; i < FEW; i++) {
                u64 sum = gathered(total[i], false);
                if (lane == 0 && row0 + i < rows) out[(row0 + i) * columns + column] = sum;
            }
        }
    }
}
