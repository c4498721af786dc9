//! What a map promises about its weights.

/// The laws of a map at its configured parameters. Property tests, models and config checks read them.
///
/// All of them speak of rows with at least one kept entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Laws {
    /// The weights of a row sum to 1.
    pub sums_to_one: bool,
    /// No weight is negative.
    pub non_negative: bool,
    /// A removed entry gets weight 0, as if it were not there. Only a fill by design breaks this.
    pub removes_masked: bool,
    /// Adding a constant to every score of a row changes nothing.
    pub shift_invariant: bool,
    /// A larger score never gets a smaller weight.
    pub order_preserving: bool,
    /// A kept, finite score can get a weight of exactly 0 (beyond underflow).
    pub can_be_zero: bool,
    /// Every weight of a row can be 0, so a model needs another path around the map.
    pub row_can_be_zero: bool,
    /// The result depends on the number of kept entries beyond the entries themselves.
    pub needs_n: bool,
    /// The map draws random numbers.
    pub stochastic: bool,
    /// What the backward pass computes.
    pub gradient: Gradient,
}

/// What a map's backward pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gradient {
    /// The derivative of the forward pass.
    Exact,
    /// The derivative of a smooth stand-in for a step-like forward pass.
    StraightThrough,
    /// The derivative with a part of the forward pass held constant.
    Detached,
    /// Nothing: the map is for inference.
    None,
}

impl Laws {
    /// The laws of softmax, from which other maps are told apart:
    /// `Laws { shift_invariant: false, ..Laws::SOFTMAX }`.
    pub const SOFTMAX: Self = Self {
        sums_to_one: true,
        non_negative: true,
        removes_masked: true,
        shift_invariant: true,
        order_preserving: true,
        can_be_zero: false,
        row_can_be_zero: false,
        needs_n: false,
        stochastic: false,
        gradient: Gradient::Exact,
    };
}
