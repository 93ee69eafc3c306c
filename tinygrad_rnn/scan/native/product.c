/* Matrix products of packed matrices. This file is compiled once for each type, and linked to every program.

   A matrix of k rows and n columns is packed into panels of columns, as wide as 4 vectors; the last one is as narrow as it can
   be. A panel is k rows without gaps, zeros after the last column. A tile of 6 rows and 4 vectors of the result stays in the
   registers while all of k is gone through; with 16 registers instead of 32, it is 6 rows and 2 vectors. */
#if defined __AVX512F__
enum { BYTES = 64, WIDE = 4 };
#elif defined __AVX__
enum { BYTES = 32, WIDE = 2 };
#else
enum { BYTES = 16, WIDE = 2 };
#endif
enum { ROWS = 6, LANES = BYTES / sizeof(num) };
typedef num vector __attribute__((vector_size(BYTES), aligned(sizeof(num)), may_alias));

/* The number of vectors that a panel is wide, if so many columns are left */
static inline long width_(long columns) {
    long vectors = (columns + LANES - 1) / LANES;
    return vectors < WIDE ? vectors : WIDE;
}

void pack_num(long k, long n, const num *b, long row, long column, num *panels) {
    for (long first = 0, wide; first < n; first += wide, panels += k * wide) {
        wide = width_(n - first) * LANES;
        long columns = n - first < wide ? n - first : wide;
        for (long i = 0; i < k; i++) {
            const num *from = b + i * row + first * column;
            num *to = panels + i * wide;
            if (column == 1)
                for (long j = 0; j < columns; j++) to[j] = from[j];
            else
                for (long j = 0; j < columns; j++) to[j] = from[j * column];
            for (long j = columns; j < wide; j++) to[j] = 0;
        }
    }
}

#define INLINE static inline __attribute__((always_inline))

INLINE void tile(const int rows, const int width, long k, const num *a, long row, long column, const num *b, num *c,
                 long across, int add) {
    vector sum[ROWS][WIDE];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < width; j++) sum[i][j] = add ? *(vector *)(c + i * across + j * LANES) : (vector){0};
    for (long l = 0; l < k; l++, a += column, b += width * LANES)
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
            for (int j = 0; j < width; j++) sum[i][j] += a[i * row] * *(const vector *)(b + j * LANES);
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < width; j++) *(vector *)(c + i * across + j * LANES) = sum[i][j];
}

INLINE void tiles(const int width, long m, long k, const num *a, long row, long column, const num *b, num *c, long across,
                  int add) {
    for (long count = (m + ROWS - 1) / ROWS, rows; count > 0; count--, m -= rows, a += rows * row, c += rows * across) {
        rows = (m + count - 1) / count; /* as even as can be */
        switch (rows) {
        case 6: tile(6, width, k, a, row, column, b, c, across, add); break;
        case 5: tile(5, width, k, a, row, column, b, c, across, add); break;
        case 4: tile(4, width, k, a, row, column, b, c, across, add); break;
        case 3: tile(3, width, k, a, row, column, b, c, across, add); break;
        case 2: tile(2, width, k, a, row, column, b, c, across, add); break;
        case 1: tile(1, width, k, a, row, column, b, c, across, add); break;
        }
    }
}

static void columns_(long width, long m, long k, const num *a, long row, long column, const num *b, num *c, long across, int add) {
    switch (width) {
    case 1: tiles(1, m, k, a, row, column, b, c, across, add); break;
    case 2: tiles(2, m, k, a, row, column, b, c, across, add); break;
#if defined __AVX512F__
    case 3: tiles(3, m, k, a, row, column, b, c, across, add); break;
    case 4: tiles(4, m, k, a, row, column, b, c, across, add); break;
#endif
    }
}

/* c = a b, or c += a b, for a of m rows whose rows and columns are so far apart; the rows of c have no gaps */
void product_num(long m, long n, long k, const num *a, long row, long column, const num *panels, num *c, long across, int add) {
    for (long first = 0, wide; first < n; first += wide, panels += k * wide) {
        long width = width_(n - first), rest = n - first;
        wide = width * LANES;
        if (rest >= wide) {
            columns_(width, m, k, a, row, column, panels, c + first, across, add);
            continue;
        }
        for (long i = 0; i < m; i += ROWS) { /* the last columns fill no vector: they go through a tile of their own */
            num whole[ROWS * WIDE * LANES];
            long rows = m - i < ROWS ? m - i : ROWS;
            columns_(width, rows, k, a + i * row, row, column, panels, whole, wide, 0);
            for (long r = 0; r < rows; r++)
                for (long j = 0; j < rest; j++) {
                    num *to = c + (i + r) * across + first + j;
                    *to = add ? *to + whole[r * wide + j] : whole[r * wide + j];
                }
        }
    }
}
