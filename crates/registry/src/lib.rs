//! The registry: one line per entry, everything else follows from it.
//!
//! A *registry* is a closed set of named choices (normalizers, losses, models, data sets, optimizers,
//! measures …). Each entry brings one parameter struct, which stands in the entry's own file and
//! implements [`Entry`]. The [`registry!`] macro turns the list into
//!
//! - a config enum that reads `{ name = "entmax", alpha = 1.5 }` or, in short, `"softmax"`;
//! - the loader, which reads `name` first and hands the *rest* of the same map to the entry's own
//!   struct, so that a format with source positions keeps them down to the failing key
//!   (serde's own `tag = "name"` buffers the map and loses them);
//! - the JSON Schema, the list of names, summaries and papers;
//! - on request the Burn module enum (or boxed trait object) that the config builds.
#![forbid(unsafe_code)]

pub mod range;
mod tagged;

pub use tagged::{Listing, Tagged, deserialize_tagged, is_tagged_name, tagged_schema};

/// What an entry's parameter struct says about itself.
pub trait Entry {
    /// One line that says what the entry is, for lists and generated docs.
    const SUMMARY: &'static str;
    /// Source as `Author et al. year, title or number`; empty for entries without a paper.
    const PAPER: &'static str = "";
}

/// Declares a registry; see the crate documentation for what it makes.
///
/// ```text
/// registry! {
///     /// Maps of scores to weights.
///     config NormalizerConfig("normalizer");
///     module Normalizer: dyn Normalize, init(&Init<'_>);
///     "softmax" => Softmax(SoftmaxConfig),
/// }
/// ```
/// - `config` alone makes the config enum.
/// - `module M: dyn T, init(Args);` adds a Burn module enum `M` whose variants hold the types named
///   like the variants. `Config::init(args)` builds it through each params struct's inherent
///   `init(&self, args) -> Variant`; the enum dereferences to `dyn T`.
/// - `object T, init(Args);` adds `Config::init(args) -> Box<dyn T>` through each params struct's inherent
///   `init(&self, args)` that returns an implementor of `T`.
/// - `config C("kind"): dyn T;` is for entries whose parameters are all there is to them: each params struct
///   implements `T` itself and the config enum dereferences to `dyn T`, mutably too. It combines with `module`.
///
/// The calling crate needs `serde`, `schemars` (and `burn` for `module`) among its dependencies.
#[macro_export]
macro_rules! registry {
    (
        $(#[$meta:meta])*
        config $config:ident($kind:literal): dyn $own:path;
        module $module:ident : dyn $trait:path, init($args:ty);
        $($name:literal => $variant:ident($params:ty)),+ $(,)?
    ) => {
        $crate::registry! {
            $(#[$meta])*
            config $config($kind);
            module $module: dyn $trait, init($args);
            $($name => $variant($params)),+
        }

        impl std::ops::Deref for $config {
            type Target = dyn $own;
            fn deref(&self) -> &Self::Target {
                match self { $(Self::$variant(params) => params),+ }
            }
        }

        impl std::ops::DerefMut for $config {
            fn deref_mut(&mut self) -> &mut Self::Target {
                match self { $(Self::$variant(params) => params),+ }
            }
        }
    };
    (
        $(#[$meta:meta])*
        config $config:ident($kind:literal);
        module $module:ident : dyn $trait:path, init($args:ty);
        $($name:literal => $variant:ident($params:ty)),+ $(,)?
    ) => {
        $crate::registry! { $(#[$meta])* config $config($kind); $($name => $variant($params)),+ }

        #[doc = concat!("A built ", $kind, ": one variant per entry of [`", stringify!($config), "`].")]
        #[derive(burn::module::Module, Debug)]
        pub enum $module {
            $(#[doc = concat!("`", $name, "`")] $variant($variant)),+
        }

        impl $config {
            #[doc = concat!("Builds the ", $kind, " this config names.")]
            pub fn init(&self, args: $args) -> $module {
                match self { $(Self::$variant(params) => $module::$variant(params.init(args))),+ }
            }
        }

        impl std::ops::Deref for $module {
            type Target = dyn $trait;
            fn deref(&self) -> &Self::Target {
                match self { $(Self::$variant(inner) => inner),+ }
            }
        }
    };
    (
        $(#[$meta:meta])*
        config $config:ident($kind:literal): dyn $trait:path;
        $($name:literal => $variant:ident($params:ty)),+ $(,)?
    ) => {
        $crate::registry! { $(#[$meta])* config $config($kind); $($name => $variant($params)),+ }

        impl std::ops::Deref for $config {
            type Target = dyn $trait;
            fn deref(&self) -> &Self::Target {
                match self { $(Self::$variant(params) => params),+ }
            }
        }

        impl std::ops::DerefMut for $config {
            fn deref_mut(&mut self) -> &mut Self::Target {
                match self { $(Self::$variant(params) => params),+ }
            }
        }
    };
    (
        $(#[$meta:meta])*
        config $config:ident($kind:literal);
        object $trait:path, init($args:ty);
        $($name:literal => $variant:ident($params:ty)),+ $(,)?
    ) => {
        $crate::registry! { $(#[$meta])* config $config($kind); $($name => $variant($params)),+ }

        impl $config {
            #[doc = concat!("Builds the ", $kind, " this config names.")]
            pub fn init(&self, args: $args) -> Box<dyn $trait> {
                match self { $(Self::$variant(params) => Box::new(params.init(args))),+ }
            }
        }
    };
    (
        $(#[$meta:meta])*
        config $config:ident($kind:literal);
        $($name:literal => $variant:ident($params:ty)),+ $(,)?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[serde(tag = "name")]
        pub enum $config {
            $(#[doc = concat!("`", $name, "`")] #[serde(rename = $name)] $variant($params)),+
        }

        impl $config {
            /// The entry's name as it stands in a config file.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),+ }
            }
        }

        impl $crate::Tagged for $config {
            const KIND: &'static str = $kind;
            const NAMES: &'static [&'static str] = &[$($name),+];
            fn load<'de, D: serde::Deserializer<'de>>(name: &str, rest: D) -> Result<Self, D::Error> {
                match name {
                    $($name => <$params as serde::Deserialize>::deserialize(rest).map(Self::$variant),)+
                    other => Err(serde::de::Error::unknown_variant(other, Self::NAMES)),
                }
            }
            fn listing() -> Vec<$crate::Listing> {
                vec![$($crate::Listing {
                    registry: $kind,
                    name: $name,
                    summary: <$params as $crate::Entry>::SUMMARY,
                    paper: <$params as $crate::Entry>::PAPER,
                }),+]
            }
        }

        impl<'de> serde::Deserialize<'de> for $config {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::deserialize_tagged(deserializer)
            }
        }

        impl schemars::JsonSchema for $config {
            fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($config).into() }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let entries = vec![$((
                    $name,
                    <$params as $crate::Entry>::SUMMARY,
                    <$params as schemars::JsonSchema>::json_schema(generator),
                )),+];
                $crate::tagged_schema($kind, entries)
            }
        }
    };
}
