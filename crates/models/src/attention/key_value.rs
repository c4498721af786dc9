//! Keys and values of the tokens so far.
use burn::tensor::{Int, Tensor};

use super::{Pattern, Scope, Side, state::Remember, state::tensor_bytes};

/// Keys and values of the tokens so far; under a window only of those that can still be seen.
///
/// Keys are stored as they are used, normalised and rotated, so nothing is rewritten when old ones leave. The tensors
/// have room for more tokens and double it when it is full.
#[derive(Clone, Debug, Default)]
pub struct KeyValue {
    stored: Option<Stored>,
}

#[derive(Clone, Debug)]
struct Stored {
    /// `[rows, kv_heads, room, d_head]`, of which the first `side.length()` tokens count.
    k: Tensor<4>,
    /// `[rows, kv_heads, room, d_value]`
    v: Tensor<4>,
    side: Side,
}

impl KeyValue {
    /// Tokens stored.
    pub fn length(&self) -> usize {
        self.stored.as_ref().map_or(0, |stored| stored.side.length())
    }

    /// All keys and values up to the new ones, the scope of the new queries over them, and the state after them.
    ///
    /// # Shapes
    /// - k, v: `[rows, kv_heads, new, width]`; results: `[rows, kv_heads, length + new, width]`
    pub fn extended(self, k: Tensor<4>, v: Tensor<4>, new: &Scope) -> (Tensor<4>, Tensor<4>, Scope, Self) {
        let Some(Stored { k: old_k, v: old_v, side }) = self.stored else {
            let stored = Stored { k: k.clone(), v: v.clone(), side: new.keys.clone() };
            return (k, v, new.clone(), Self { stored: Some(stored.trimmed(new.pattern)) });
        };
        let length = side.length();
        let scope = Scope::after(new.pattern, &side, new.keys.clone());
        let (k, v) = (appended(old_k, length, k), appended(old_v, length, v));
        let total = scope.keys.length();
        let view = |x: &Tensor<4>| x.clone().narrow(2, 0, total);
        let (seen_k, seen_v) = (view(&k), view(&v));
        let stored = Stored { k, v, side: scope.keys.clone() }.trimmed(new.pattern);
        (seen_k, seen_v, scope, Self { stored: Some(stored) })
    }
}

impl Stored {
    /// Without the tokens that no later query sees.
    fn trimmed(self, pattern: Pattern) -> Self {
        let Pattern::Window { width, sinks } = pattern else { return self };
        let length = self.side.length();
        // The next query sees width − 1 old keys. With padding on the left the first kept tokens stand elsewhere in each
        // row, so there nothing is dropped before the window.
        if length < width + sinks || (sinks > 0 && self.side.kept.is_some()) {
            return self;
        }
        let start = length + 1 - width;
        let cut = |x: Tensor<4>| {
            let recent = x.clone().narrow(2, start, width - 1);
            if sinks == 0 { recent } else { Tensor::cat(vec![x.narrow(2, 0, sinks), recent], 2) }
        };
        let recent = self.side.narrow(start, width - 1);
        let side = if sinks == 0 { recent } else { self.side.narrow(0, sinks).followed_by(&recent) };
        Self { k: cut(self.k), v: cut(self.v), side }
    }
}

/// `new` written behind the first `length` tokens of `old`, in a larger tensor if there is no room.
fn appended(old: Tensor<4>, length: usize, new: Tensor<4>) -> Tensor<4> {
    let [rows, heads, room, width] = old.dims();
    let [_, _, count, _] = new.dims();
    let total = length + count;
    let target = if total <= room {
        old
    } else {
        let grown = Tensor::zeros([rows, heads, total.max(2 * room), width], (&old.device(), old.dtype()));
        grown.slice_assign([0..rows, 0..heads, 0..length, 0..width], old.narrow(2, 0, length))
    };
    target.slice_assign([0..rows, 0..heads, length..total, 0..width], new)
}

impl Remember for KeyValue {
    fn select(self, rows: &Tensor<1, Int>) -> Self {
        let select = |stored: Stored| Stored {
            k: stored.k.select(0, rows.clone()),
            v: stored.v.select(0, rows.clone()),
            side: stored.side.select(rows),
        };
        Self { stored: self.stored.map(select) }
    }

    fn reset(self) -> Self {
        Self::default()
    }

    fn bytes(&self) -> usize {
        self.stored.as_ref().map_or(0, |stored| tensor_bytes(&stored.k) + tensor_bytes(&stored.v))
    }
}
