//! What a rule's parameter struct offers, and the keys that all of them share.
use std::{fmt::Debug, sync::Arc};

use burn::optim::DynOptimizer;

use crate::{GroupConfig, Invalid, ScheduleConfig, StateDtype, TransformConfig};

/// The keys that every rule shares, as one rule's parameter struct holds them.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'a> {
    /// Base learning rate.
    pub lr: f64,
    /// Weight decay; the rule says what it does with it.
    pub weight_decay: f64,
    /// Dtype of the state.
    pub state_dtype: StateDtype,
    /// Factor on the learning rate over time.
    pub schedule: &'a ScheduleConfig,
    /// Gradient transforms in their order.
    pub transforms: &'a [TransformConfig],
    /// Parameter groups; later ones win.
    pub groups: &'a [GroupConfig],
}

/// Access to the shared keys; written by the macro that declares the struct.
pub trait SharedParams {
    /// The shared keys.
    fn shared(&self) -> Shared<'_>;
}

/// The contract of a rule's parameter struct.
pub trait RuleParams: SharedParams + Debug + Send + Sync {
    /// The rule, with this weight decay in place of its own.
    fn rule(&self, weight_decay: f64) -> Arc<dyn DynOptimizer>;

    /// Whether the rule's own keys go together.
    ///
    /// # Errors
    /// If two of them do not.
    fn check_rule(&self) -> Result<(), Invalid> {
        Ok(())
    }

    /// Why the rule cannot update a parameter of this shape, if so.
    fn refuses(&self, _shape: &[usize]) -> Option<String> {
        None
    }
}

/// Declares a rule's parameter struct: its learning rate's default, its own keys with theirs, and the shared
/// keys appended. Serde's `flatten` would do the same at the price of source positions and of refusing
/// unknown keys.
macro_rules! rule_params {
    (
        $(#[$meta:meta])*
        $name:ident { lr = $lr:expr, $($(#[$attribute:meta])* $key:ident: $type:ty = $default:expr,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            #[doc = concat!("Learning rate, above 0; default ", stringify!($lr), ".")]
            #[serde(deserialize_with = "kiln_registry::range::positive")]
            #[schemars(extend("exclusiveMinimum" = 0))]
            pub lr: f64,
            $(
                $(#[$attribute])*
                #[doc = concat!("\n\nDefault: `", stringify!($default), "`.")]
                pub $key: $type,
            )*
            /// Weight decay, at least 0; default 0.
            #[serde(deserialize_with = "kiln_registry::range::non_negative")]
            #[schemars(range(min = 0.0))]
            pub weight_decay: f64,
            /// Gradient transforms, applied in this order before the rule.
            pub transforms: Vec<$crate::TransformConfig>,
            /// Factor on the learning rate over time; default `constant`.
            pub schedule: $crate::ScheduleConfig,
            /// Dtype of state and arithmetic; default `param`, each parameter's own.
            pub state_dtype: $crate::StateDtype,
            /// Parameter groups with settings of their own; later groups win.
            pub groups: Vec<$crate::GroupConfig>,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    lr: $lr,
                    $($key: $default,)*
                    weight_decay: 0.0,
                    transforms: Vec::new(),
                    schedule: Default::default(),
                    state_dtype: Default::default(),
                    groups: Vec::new(),
                }
            }
        }

        impl $crate::SharedParams for $name {
            fn shared(&self) -> $crate::Shared<'_> {
                $crate::Shared {
                    lr: self.lr,
                    weight_decay: self.weight_decay,
                    state_dtype: self.state_dtype,
                    schedule: &self.schedule,
                    transforms: &self.transforms,
                    groups: &self.groups,
                }
            }
        }
    };
}
pub(crate) use rule_params;
