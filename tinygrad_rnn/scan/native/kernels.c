/* Functions that templates of primitives call. A program contains only the functions that it needs.

   A block is a function, and ends at an empty line. A name ends in its type: _f float, _d double, _i long long. A block with
   the word `num` is written once for each type that a program asks for. Loops that call these functions are vectorised, so
   short functions have no branches: a ?: chooses between two values that are both computed. */

static inline float floor_f(float x) { return __builtin_floorf(x); }

static inline double floor_d(double x) { return __builtin_floor(x); }

static inline float sqrt_f(float x) { return __builtin_sqrtf(x); }

static inline double sqrt_d(double x) { return __builtin_sqrt(x); }

static inline float sin_f(float x) { return __builtin_sinf(x); }

static inline double sin_d(double x) { return __builtin_sin(x); }

static inline float cos_f(float x) { return __builtin_cosf(x); }

static inline double cos_d(double x) { return __builtin_cos(x); }

static inline float pow_f(float a, float b) { return __builtin_powf(a, b); }

static inline double pow_d(double a, double b) { return __builtin_pow(a, b); }

static inline float expm1_f(float x) { return __builtin_expm1f(x); }

static inline double expm1_d(double x) { return __builtin_expm1(x); }

static inline float log1p_f(float x) { return __builtin_log1pf(x); }

static inline double log1p_d(double x) { return __builtin_log1p(x); }

static inline float log_f(float x) { return __builtin_logf(x); }

static inline double log_d(double x) { return __builtin_log(x); }

/* e^r - 1 for |r| <= ln(2)/2 */
static inline float expm1_near_0_f(float r) {
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * (r * r) + r;
}

static inline double expm1_near_0_d(double r) {
    double p = 1.6059043836821613e-10;
    p = p * r + 2.0876756987868100e-9;
    p = p * r + 2.5052108385441720e-8;
    p = p * r + 2.7557319223985893e-7;
    p = p * r + 2.7557319223985888e-6;
    p = p * r + 2.4801587301587302e-5;
    p = p * r + 1.9841269841269841e-4;
    p = p * r + 1.3888888888888889e-3;
    p = p * r + 8.3333333333333332e-3;
    p = p * r + 4.1666666666666664e-2;
    p = p * r + 1.6666666666666666e-1;
    p = p * r + 0.5;
    return p * (r * r) + r;
}

/* e^x = 2^k e^r with |r| <= ln(2)/2; 2^k is multiplied as two factors, so that results near 0 are right */
static inline float exp_f(float x) {
    float y = x > 89.0f ? 89.0f : x < -104.0f ? -104.0f : x;
    float rounded = y * 1.44269504f + 12582912.0f; /* adding 1.5 * 2^23 rounds to a whole number */
    float k = rounded - 12582912.0f;
    float p = expm1_near_0_f((y - k * 0.693359375f) + k * 2.12194440e-4f) + 1.0f;
    int whole = (int)(x == x ? k : 0.0f), half = whole >> 1;
    union { int bits; float number; } one = {(half + 127) << 23}, other = {(whole - half + 127) << 23};
    return x == x ? p * one.number * other.number : x;
}

static inline double exp_d(double x) {
    double y = x > 710.0 ? 710.0 : x < -746.0 ? -746.0 : x;
    double rounded = y * 1.4426950408889634 + 6755399441055744.0; /* 1.5 * 2^52 */
    double k = rounded - 6755399441055744.0;
    double p = expm1_near_0_d((y - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10) + 1.0;
    long long whole = (long long)(x == x ? k : 0.0), half = whole >> 1;
    union { long long bits; double number; } one = {(half + 1023) << 52}, other = {(whole - half + 1023) << 52};
    return x == x ? p * one.number * other.number : x;
}

/* With e = e^(-2|x|) - 1, tanh |x| = -e / (e + 2), which is also exact near 0. The last bits of `rounded` are k. */
static inline float tanh_f(float x) {
    float size = __builtin_fabsf(x), y = size > 10.0f ? -20.0f : size * -2.0f;
    union { float number; unsigned bits; } rounded = {y * 1.44269504f + 12582912.0f};
    float k = rounded.number - 12582912.0f;
    union { unsigned bits; float number; } scale = {(rounded.bits << 23) + (127u << 23)};
    float e = scale.number * expm1_near_0_f((y - k * 0.693359375f) + k * 2.12194440e-4f) + (scale.number - 1.0f);
    return __builtin_copysignf(e / (e + 2.0f), x);
}

static inline double tanh_d(double x) {
    double size = __builtin_fabs(x), y = size > 20.0 ? -40.0 : size * -2.0;
    union { double number; unsigned long long bits; } rounded = {y * 1.4426950408889634 + 6755399441055744.0};
    double k = rounded.number - 6755399441055744.0;
    union { unsigned long long bits; double number; } scale = {(rounded.bits << 52) + (1023ULL << 52)};
    double r = (y - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
    double e = scale.number * expm1_near_0_d(r) + (scale.number - 1.0);
    return __builtin_copysign(e / (e + 2.0), x);
}

static inline num sigmoid_num(num x) {
    num small = exp_num(x < 0 ? x : -x);
    return (x >= 0 ? 1 : small) / (1 + small);
}

static inline num softplus_num(num x) {
    return x != x ? x : (x > 0 ? x : 0) + log1p_num(exp_num(x > 0 ? -x : x));
}

/* As in Python: the quotient is rounded down, and the remainder has the sign of b */
static inline double remainder_d(double a, double b) {
    double rest = __builtin_fmod(a, b);
    return !b ? rest : rest ? rest + ((b < 0) != (rest < 0) ? b : 0) : __builtin_copysign(0.0, b);
}

static inline double floor_divide_d(double a, double b) {
    double rest = __builtin_fmod(a, b), quotient = (a - rest) / b;
    if (!b) return a / b;
    if (rest && (b < 0) != (rest < 0)) quotient -= 1;
    double whole = __builtin_floor(quotient);
    return !quotient ? __builtin_copysign(0.0, a / b) : whole + (quotient - whole > 0.5);
}

static inline float remainder_f(float a, float b) {
    float rest = __builtin_fmodf(a, b);
    return !b ? rest : rest ? rest + ((b < 0) != (rest < 0) ? b : 0) : __builtin_copysignf(0.0f, b);
}

static inline float floor_divide_f(float a, float b) {
    float rest = __builtin_fmodf(a, b), quotient = (a - rest) / b;
    if (!b) return a / b;
    if (rest && (b < 0) != (rest < 0)) quotient -= 1;
    float whole = __builtin_floorf(quotient);
    return !quotient ? __builtin_copysignf(0.0f, a / b) : whole + (quotient - whole > 0.5f);
}

static inline long long remainder_i(long long a, long long b) {
    if (b == 0 || b == -1) return 0;
    long long rest = a % b;
    return rest && (b < 0) != (rest < 0) ? rest + b : rest;
}

static inline long long floor_divide_i(long long a, long long b) {
    if (b == 0) return 0;
    if (b == -1) return -a;
    return a / b - (a % b && (b < 0) != (a < 0));
}

/* Integers to negative powers fail, as in NumPy */
static inline long long power_i(long long a, long long b, int *failed) {
    long long y = 1;
    if (b < 0) *failed = 1;
    for (; b > 0; b >>= 1, a *= a)
        if (b & 1) y *= a;
    return y;
}

static num sum_num(long n, const num *x) {
    num total = 0;
#pragma omp simd reduction(+ : total)
    for (long i = 0; i < n; i++) total += x[i];
    return total;
}

/* The blocks of n steps without the gaps between them; if there are gaps, the blocks are copied into `room` */
static const num *joined_num(long n, long count, long size, long step, const num *x, num *room) {
    if (size == step) return x;
    for (long t = 0; t < n; t++) __builtin_memcpy(room + t * size, x + t * step, count * sizeof(num));
    return room;
}

static num max_num(long n, const num *x) {
    num y = x[0];
    for (long i = 1; i < n; i++) y = x[i] > y || x[i] != x[i] ? x[i] : y;
    return y;
}

static num min_num(long n, const num *x) {
    num y = x[0];
    for (long i = 1; i < n; i++) y = x[i] < y || x[i] != x[i] ? x[i] : y;
    return y;
}

/* The position of the first of the largest elements; NaN counts as larger than any number */
static long long argmax_num(long n, const num *x) {
    long long at = 0;
    for (long i = 1; i < n && x[at] == x[at]; i++)
        if (x[i] > x[at] || x[i] != x[i]) at = i;
    return at;
}

/* Insertion sort: equal elements keep their order, and NaN comes last */
static void argsort_num(long n, const num *x, long long *y) {
    for (long i = 0; i < n; i++) {
        long j = i;
        for (; j > 0 && (x[i] < x[y[j - 1]] || (x[i] == x[i] && x[y[j - 1]] != x[y[j - 1]])); j--) y[j] = y[j - 1];
        y[j] = i;
    }
}

static void cumsum_num(long n, const num *x, num *y) {
    num total = 0;
    for (long i = 0; i < n; i++) y[i] = total += x[i];
}

static num logsumexp_num(long n, const num *x) {
    num top = max_num(n, x), total = 0;
    num shift = top - top == 0 ? top : 0;
#pragma omp simd reduction(+ : total)
    for (long i = 0; i < n; i++) total += exp_num(x[i] - shift);
    return log_num(total) + shift;
}

static void log_softmax_num(long n, const num *x, num *y) {
    num top = max_num(n, x), total = 0;
#pragma omp simd reduction(+ : total)
    for (long i = 0; i < n; i++) {
        y[i] = x[i] - top;
        total += exp_num(y[i]);
    }
    num shift = log_num(total);
    for (long i = 0; i < n; i++) y[i] -= shift;
}

/* The position that an index means by NumPy's rules: -1 is the last position */
static inline long index_i(long long i, long n, int *failed) {
    long at = i < 0 ? i + n : i;
    if (at >= 0 && at < n) return at;
    *failed = 1;
    return 0;
}

/* The position that a code means; a negative code fails */
static inline long code_i(long long i, long n, int *failed) {
    if (i >= 0 && i < n) return i;
    *failed = 1;
    return 0;
}
