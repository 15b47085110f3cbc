"""Every tolerance of the parity tests, with its reason, in one place."""

# Two implementations in one process, on the same torch and the same CPU, that do the same operations in the same
# order round the same way.  Anything but 0.0 is a difference in the arithmetic.
EXACT = 0.0

# float64, where the two sides may be run by different kernels (compiled against eager): rounding alone.
FLOAT64 = 1e-12

# torch.compile fuses and reorders float32 additions: a few units in the last place of values around 3.
COMPILED_FLOAT32 = 5e-6

# Eager and fused attention sum in different orders; measured at most 2.4e-7 on hidden states below 4.
EAGER_AGAINST_SDPA = 2e-6

# Packed execution multiplies the same rows in matrices of another height, and attention sums over other blocks:
# relative to the vector's largest value, and absolute for vectors of unit length.
EMBEDDING = 2e-6
EMBEDDING_NORMALIZED = 1e-6

# Only the masked rows go through the vocabulary projection: the same sums over fewer rows, rounded otherwise.  A
# hundred steps: losses relative (measured at most 2.7e-7, two units in the last place), weights absolute (2.4e-7).
GATHERED_LOSSES = 1e-6
GATHERED_WEIGHTS = 5e-6

# x·W + (x·A)·B against x·(W + A·B): LoRA before and after merging.  Measured at most 5.2e-6 on logits below 6.
MERGED = 2e-5

# The page's engine (JavaScript, sums in float64) against the readable float32 model with the same weights: relative to
# the largest value of a point.
PAGE = 2e-5
