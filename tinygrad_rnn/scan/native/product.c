/* Matrix products of packed matrices. This file is compiled once for each type, and linked to every program.

   A matrix of k rows and n columns is packed into panels. A panel is one vector wide: it holds k rows without gaps. The last
   panel holds the last columns, and overlaps the panel before, so that every panel is full. Only a matrix that is narrower
   than a vector is padded with zeros. A tile is some rows and some vectors of the result. It stays in the registers during
   the loop over all of k. Its size keeps the processor's multipliers busy: 24 sums with 32 registers, 12 with 16. */
#if defined __unix__ || defined __APPLE__
#include <sched.h>
#endif
#if defined __AVX512F__
enum { BYTES = 64, ROWS = 8 };
#elif defined __AVX__
enum { BYTES = 32, ROWS = 4 };
#else
enum { BYTES = 16, ROWS = 4 };
#endif
enum { LANES = BYTES / sizeof(num), DEPTH = 256, PAGE = 4096, LEAST_TOGETHER = 1 << 17 };
typedef num vector __attribute__((vector_size(BYTES), aligned(sizeof(num)), may_alias));

static inline long least(long a, long b) { return a < b ? a : b; }

/* The threads that compute a large product together. Each takes groups of columns that nobody has taken yet: the thread of the
   program those at the front, the helpers those at the end. So each thread mostly reads the same part of a matrix at all steps,
   from its own cache. The numbers do not depend on who computes a group. */
struct team {
    unsigned long long left; /* the first group that nobody has taken; in the upper 32 bits, the one behind the last */
    long long busy;          /* helpers that compute a group, or try to take one */
    long long over;          /* whether the program has ended */
    void (*compute)(const void *work, long group);
    const void *work;
};
static _Thread_local struct team *team;

static inline void rest(long turn) {
#if defined __unix__ || defined __APPLE__
    if (turn % 4096 == 4095) sched_yield(); /* there may be fewer free processors than threads */
#endif
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#endif
}

/* A group that nobody has taken yet; -1 if there is none */
static long take(struct team *t, int front) {
    unsigned long long left = __atomic_load_n(&t->left, __ATOMIC_ACQUIRE);
    for (;;) {
        long first = left & 0xffffffff, end = left >> 32;
        if (first >= end) return -1;
        if (__atomic_compare_exchange_n(&t->left, &left, front ? left + 1 : left - (1ULL << 32), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return front ? first : end - 1;
    }
}

/* The programs of this thread have a team from now on, or, with 0, none */
void join_num(struct team *t) { team = t; }

/* Compute groups of the products of a team's program until the program has ended */
void help_num(struct team *t) {
    for (long turn = 0; !__atomic_load_n(&t->over, __ATOMIC_ACQUIRE); turn++) {
        unsigned long long left = __atomic_load_n(&t->left, __ATOMIC_ACQUIRE);
        if ((left & 0xffffffff) >= left >> 32) {
            rest(turn);
            continue;
        }
        __atomic_fetch_add(&t->busy, 1, __ATOMIC_ACQ_REL); /* the program waits until no helper is busy, before it goes on */
        for (long group; (group = take(t, 0)) >= 0;) t->compute(t->work, group);
        __atomic_fetch_sub(&t->busy, 1, __ATOMIC_ACQ_REL);
    }
}

/* Tell a team's helpers that the program has ended */
void leave_num(struct team *t) { __atomic_store_n(&t->over, 1, __ATOMIC_RELEASE); }

/* Compute all groups, with the help of this thread's team if the work is large */
static void together(long groups, void (*compute)(const void *, long), const void *work, long size) {
    struct team *t = team;
    if (!t || groups == 1 || size < LEAST_TOGETHER) {
        for (long group = 0; group < groups; group++) compute(work, group);
        return;
    }
    t->compute = compute, t->work = work;
    __atomic_store_n(&t->left, (unsigned long long)groups << 32, __ATOMIC_RELEASE);
    for (long group; (group = take(t, 1)) >= 0;) compute(work, group);
    for (long turn = 0; __atomic_load_n(&t->busy, __ATOMIC_ACQUIRE); turn++) rest(turn);
}

/* The first column of a panel */
static inline long column_(long panel, long n) { return n < LANES ? 0 : least(panel * LANES, n - LANES); }

struct packing {
    long k, n, row, column;
    const num *b;
    num *panels;
};

static void panel_(const void *packing, long p) {
    const struct packing *x = packing;
    long k = x->k, row = x->row, column = x->column, columns = least(x->n, LANES);
    const num *from = x->b + column_(p, x->n) * column;
    num *to = x->panels + p * k * LANES;
    if (columns < LANES)
        for (long i = 0; i < k * LANES; i++) to[i] = 0;
    if (column == 1 && columns == LANES)
        for (long i = 0; i < k; i++) *(vector *)(to + i * LANES) = *(const vector *)(from + i * row);
    else
        for (long j = 0; j < columns; j++)
            for (long i = 0; i < k; i++) to[i * LANES + j] = from[i * row + j * column];
}

void pack_num(long k, long n, const num *b, long row, long column, num *panels) {
    struct packing x = {k, n, row, column, b, panels};
    together((n + LANES - 1) / LANES, panel_, &x, k * n);
}

/* c = a b, or c += a b, for few rows and panels; the vectors of c begin at these columns */
static inline __attribute__((always_inline)) void tile(const int rows, const int width, long k, const num *a, long row, long column,
                                                       const num *b, long panel, num *c, long across, const long *columns, int add) {
    vector sum[rows][width];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < width; j++) sum[i][j] = add ? *(vector *)(c + i * across + columns[j]) : (vector){0};
    for (long l = 0; l < k; l++, a += column, b += LANES)
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
            for (int j = 0; j < width; j++) sum[i][j] += a[i * row] * *(const vector *)(b + j * panel);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 8
        for (int j = 0; j < width; j++) *(vector *)(c + i * across + columns[j]) = sum[i][j];
}

#define TILE(rows, width) \
    case rows * 10 + width: tile(rows, width, k, a, row, column, b, panel, c, across, columns, add); break;
#define UP_TO_2(rows) TILE(rows, 1) TILE(rows, 2)
#define UP_TO_3(rows) UP_TO_2(rows) TILE(rows, 3)
#define UP_TO_4(rows) UP_TO_3(rows) TILE(rows, 4)

/* The compiler must not specialise this function: it has many tiles, and compiling them takes most of the time */
#if defined __clang__
__attribute__((noinline))
#else
__attribute__((noinline, noclone))
#endif
static void any_tile(long rows, long width, long k, const num *a, long row, long column, const num *b, long panel, num *c,
                     long across, const long *columns, int add) {
    switch (rows * 10 + width) {
        UP_TO_4(1) TILE(1, 5) TILE(1, 6) UP_TO_4(2) UP_TO_4(3)
#if defined __AVX512F__
        UP_TO_4(4) UP_TO_4(5) UP_TO_4(6) UP_TO_3(7) UP_TO_3(8)
#else
        UP_TO_3(4)
#endif
    }
}

/* The size of one part, if n is divided into parts as evenly as possible */
static inline long share_(int n, int parts, int part) { return n / parts + (part < n % parts); }

/* The largest number of panels in a tile of so many rows */
static inline long width_(long rows) { return rows == 1 ? 6 : rows > ROWS * 3 / 4 ? 3 : 4; }

/* c = a b, or c += a b, in tiles of some rows, and in groups of panels */
struct product {
    long m, n, k, row, column, panel, across, panels, tiles, groups;
    const num *a, *b;
    num *c;
    int add;
};

static void group_(const void *product, long group) {
    const struct product *x = product;
    long width = share_(x->panels, x->groups, group); /* never 1 of several: overlapping panels are in one tile */
    long p = x->panels / x->groups * group + least(group, x->panels % x->groups), columns[6];
    for (long j = 0; j < width; j++) columns[j] = column_(p + j, x->n);
    for (long part = 0, i = 0, rows; part < x->tiles; part++, i += rows) {
        rows = share_(x->m, x->tiles, part);
        const num *a = x->a + i * x->row;
        num *c = x->c + i * x->across;
        if (x->n >= LANES) {
            any_tile(rows, width, x->k, a, x->row, x->column, x->b + p * x->panel, x->panel, c, x->across, columns, x->add);
            continue;
        }
        num whole[ROWS * LANES];
        any_tile(rows, 1, x->k, a, x->row, x->column, x->b, x->panel, whole, LANES, columns, 0);
        for (long r = 0; r < rows; r++)
            for (long j = 0; j < x->n; j++) {
                num *to = c + r * x->across + j;
                *to = x->add ? *to + whole[r * LANES + j] : whole[r * LANES + j];
            }
    }
}

static void block(long most, long m, long n, long k, const num *a, long row, long column, const num *b, long panel, num *c,
                  long across, int add) {
    long panels = (n + LANES - 1) / LANES, tiles = (m + most - 1) / most, widest = width_(share_(m, tiles, 0));
    struct product x = {m, n, k, row, column, panel, across, panels, tiles, (panels + widest - 1) / widest, a, b, c, add};
    together(x.groups, group_, &x, m * n * k);
}

/* c = a b, or c += a b, where a has m rows; `row` and `column` are the strides of a. The columns of c have no gaps. */
void product_num(long m, long n, long k, const num *a, long row, long column, const num *panels, num *c, long across, int add) {
    if (m <= 0 || n <= 0) return;
    if (k <= 0 || column * (long)sizeof(num) < PAGE) { /* if a is transposed, wide tiles read a less often */
        block(column == 1 ? ROWS : ROWS * 3 / 4, m, n, k, a, row, column, panels, k * LANES, c, across, add);
        return;
    }
    num strip[ROWS * DEPTH]; /* a copy of some rows of a, column by column: in a itself, columns would evict each other from the cache */
    for (long l = 0, depth; l < k; l += depth) {
        depth = least(k - l, DEPTH);
        for (long i = 0, rows; i < m; i += rows) {
            rows = least(m - i, ROWS);
            const num *from = a + l * column + i * row;
            if (rows == ROWS && row == 1)
                for (long s = 0; s < depth; s++) __builtin_memcpy(strip + s * ROWS, from + s * column, ROWS * sizeof(num));
            else
                for (long s = 0; s < depth; s++)
                    for (long r = 0; r < rows; r++) strip[s * ROWS + r] = from[s * column + r * row];
            block(ROWS, rows, n, depth, strip, 1, ROWS, panels + l * LANES, k * LANES, c + i * across, across, add || l);
        }
    }
}

/* c = a b for the rows of n steps; `further` and `beyond` are the strides from step to step in a and in c. It is one product
   if nothing lies between the steps. */
void products_num(long n, long m, long columns, long k, const num *a, long further, long row, long column, const num *panels,
                  num *c, long beyond, long across) {
    if (further == m * row && beyond == m * across) m *= n, n = 1;
    for (long t = 0; t < n; t++) product_num(m, columns, k, a + t * further, row, column, panels, c + t * beyond, across, 0);
}
