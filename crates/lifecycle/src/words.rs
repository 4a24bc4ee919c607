//! Enums whose variants, list, names and JSON come from one table each. It must not know what they mean.

/// Makes an enum, `ALL` in the order of the table, `as_str`, and its serde form, from variants with their names.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them, in the order of the table.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The name in events, JSON and subjects.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

pub(crate) use words;
