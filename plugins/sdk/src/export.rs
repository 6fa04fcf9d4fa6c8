/// Makes a component of a plugin, with exactly the roles named: `filter`, `enricher`, `reaction`.
///
/// `ennio_plugin::export!(MyPlugin: filter, reaction);` stands once in a crate of the type
/// `cdylib`. The component keeps one value of the type, made by
/// [`Plugin::configure`](crate::Plugin::configure) and shared by all roles. Outside of WebAssembly
/// the macro only checks that the type has the traits of its roles.
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($role:ident),+ $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the border of a component is raw memory")]
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: $crate::component::Instance<$plugin> =
                    const { $crate::component::Instance::new() };
            }

            struct Component;

            $crate::__export_guest!(Component, $plugin, INSTANCE);
            $($crate::__export_role!($role, Component, INSTANCE);)+
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            $($crate::__has_role!($role, $plugin);)+
        };
    };
}

/// `guest`, which every plugin has.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_guest {
    ($component:ident, $plugin:ty, $instance:ident) => {
        impl $crate::bindings::guest::exports::ennio::plugin::guest::Guest for $component {
            fn describe() -> $crate::bindings::guest::exports::ennio::plugin::guest::Description {
                $crate::component::Instance::<$plugin>::describe()
            }

            fn configure() -> ::core::result::Result<(), ::std::string::String> {
                $instance.with($crate::component::Instance::configure)
            }
        }
        $crate::bindings::guest::export!($component with_types_in $crate::bindings::guest);
    };
}

/// One role of a plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_role {
    (filter, $component:ident, $instance:ident) => {
        impl $crate::bindings::filter::exports::ennio::plugin::filter::Guest for $component {
            fn filter(
                events: ::std::vec::Vec<$crate::bindings::ennio::plugin::types::Event>,
            ) -> ::std::vec::Vec<
                $crate::bindings::filter::exports::ennio::plugin::filter::Verdict,
            > {
                $instance.with(|instance| instance.filter(events))
            }
        }
        $crate::bindings::filter::export!($component with_types_in $crate::bindings::filter);
    };
    (enricher, $component:ident, $instance:ident) => {
        impl $crate::bindings::enricher::exports::ennio::plugin::enricher::Guest for $component {
            fn enrich(
                events: ::std::vec::Vec<$crate::bindings::ennio::plugin::types::Event>,
            ) -> ::std::vec::Vec<
                ::core::result::Result<
                    ::core::option::Option<
                        $crate::bindings::enricher::exports::ennio::plugin::enricher::Patch,
                    >,
                    ::std::string::String,
                >,
            > {
                $instance.with(|instance| instance.enrich(events))
            }
        }
        $crate::bindings::enricher::export!($component with_types_in $crate::bindings::enricher);
    };
    (reaction, $component:ident, $instance:ident) => {
        impl $crate::bindings::reaction::exports::ennio::plugin::reaction::Guest for $component {
            fn react(
                delivery: $crate::bindings::reaction::exports::ennio::plugin::reaction::Delivery,
            ) -> ::core::result::Result<
                ::std::vec::Vec<
                    $crate::bindings::reaction::exports::ennio::plugin::reaction::Action,
                >,
                $crate::bindings::reaction::exports::ennio::plugin::reaction::Failure,
            > {
                $instance.with(|instance| instance.react(delivery))
            }
        }
        $crate::bindings::reaction::export!($component with_types_in $crate::bindings::reaction);
    };
}

/// Fails to compile when the plugin lacks the trait of a role.
#[doc(hidden)]
#[macro_export]
macro_rules! __has_role {
    (filter, $plugin:ty) => {
        const fn filter<T: $crate::Filter>() {}
        filter::<$plugin>();
    };
    (enricher, $plugin:ty) => {
        const fn enricher<T: $crate::Enricher>() {}
        enricher::<$plugin>();
    };
    (reaction, $plugin:ty) => {
        const fn reaction<T: $crate::Reaction>() {}
        reaction::<$plugin>();
    };
}
