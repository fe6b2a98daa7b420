"""What the settings of losses may be, so that values and gradients stay finite in float32.

No method was ever run near these bounds. The criterions and the modules of losses.py refuse what lies outside.
"""

LARGEST_WEIGHT = 1000
TEMPERATURES = 0.001, 1000
SHAPES = 0.001, 1000  # of beta distributions
FOCAL_GAMMA = 0, 100
ANTI_FOCAL_GAMMA, ANTI_FOCAL_ALPHA = (0, 10), (0, 100)  # (1 + α)^γ has to stay finite
# of a limit of generalized entropy: here float32 is off by 0.0004 nats (V = 8,000), and by ten times that at 0.0001
NEAR_A_LIMIT = 0.001


def is_near_a_limit(alpha: float) -> bool:
    """Whether α of generalized entropy is so near to 0 or 1, and not there, that float32 cannot tell them apart."""
    return 0 < alpha < NEAR_A_LIMIT or 1 - NEAR_A_LIMIT < alpha < 1
