// What all kernels share. `launch.py` joins the files of this folder to one source, which NVRTC compiles at first use.
//
// Every parameter of a kernel is a pointer or an i64. Every kernel is right for any number of blocks, and for any number
// of threads in a block that is a multiple of a warp, unless it says otherwise. Words are unsigned here, so that they
// wrap: what overflows in a signed one is undefined.

typedef unsigned long long u64;
typedef long long i64;
typedef unsigned int u32;
typedef unsigned char u8;

#define KERNEL extern "C" __global__ void
#define INLINE __device__ __forceinline__
#define EVERYONE 0xffffffffu  // all lanes of a warp

// A loop over 0 … n - 1, of which every thread of the grid takes its part.
#define EACH(i, n) for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < (n); i += (i64)gridDim.x * blockDim.x)
// The same for whole warps, which stay together.
#define EACH_WARP(i, n) \
    for (i64 i = (blockIdx.x * (i64)blockDim.x + threadIdx.x) >> 5; i < (n); i += ((i64)gridDim.x * blockDim.x) >> 5)

// All ones where bit `place` of v is 1, else zero.
INLINE u64 spread(u64 v, int place) { return -((v >> place) & 1); }
