//! What the projects work on.
//!
//! A topic gives a branch its name, a title its words, and a failing test or broken file its place,
//! so that the events of one PR speak of one thing.

/// One thing to work on.
#[derive(Clone, Copy)]
pub(crate) struct Topic {
    pub(crate) slug: &'static str,
    pub(crate) phrase: &'static str,
    /// The test that breaks when this breaks; prose has none.
    pub(crate) test: &'static str,
    pub(crate) file: &'static str,
}

const fn topic(
    slug: &'static str,
    phrase: &'static str,
    test: &'static str,
    file: &'static str,
) -> Topic {
    Topic { slug, phrase, test, file }
}

pub(crate) static ATLAS_API: [Topic; 10] = [
    topic(
        "pagination-cursor",
        "cursor pagination of list endpoints",
        "paging::cursor_survives_deletes",
        "src/paging/cursor.rs",
    ),
    topic(
        "rate-limit-headers",
        "rate limit headers",
        "limits::remaining_never_negative",
        "src/http/limits.rs",
    ),
    topic("etag-weak", "weak ETag comparison", "cache::weak_etag_matches", "src/http/etag.rs"),
    topic(
        "tile-cache-key",
        "the tile cache key",
        "tiles::key_includes_style",
        "src/tiles/cache.rs",
    ),
    topic("route-trie", "the route trie", "router::longest_prefix_wins", "src/router/trie.rs"),
    topic(
        "auth-clock-skew",
        "clock skew in token checks",
        "auth::accepts_thirty_seconds_of_skew",
        "src/auth/token.rs",
    ),
    topic(
        "bbox-antimeridian",
        "bounding boxes across the antimeridian",
        "geo::bbox_wraps_at_180",
        "src/geo/bbox.rs",
    ),
    topic(
        "retry-after-dates",
        "Retry-After dates",
        "client::retry_after_http_date",
        "src/client/retry.rs",
    ),
    topic(
        "openapi-enums",
        "enums in the OpenAPI output",
        "openapi::enums_are_closed",
        "src/openapi/schema.rs",
    ),
    topic(
        "search-ranking",
        "search ranking of short names",
        "search::exact_match_first",
        "src/search/rank.rs",
    ),
];

pub(crate) static WEB_CHECKOUT: [Topic; 10] = [
    topic(
        "checkout-rounding",
        "rounding of cart totals",
        "cart rounds half up",
        "src/cart/total.ts",
    ),
    topic(
        "coupon-stacking",
        "coupon stacking",
        "coupons stack once per order",
        "src/cart/coupon.ts",
    ),
    topic(
        "address-autofill",
        "address autofill",
        "address form keeps typed values",
        "src/address/form.tsx",
    ),
    topic(
        "guest-merge",
        "merging of guest carts",
        "guest cart merges on sign-in",
        "src/cart/merge.ts",
    ),
    topic(
        "currency-switch",
        "the currency switch",
        "currency switch keeps quantities",
        "src/price/currency.ts",
    ),
    topic(
        "pay-button-state",
        "the state of the pay button",
        "pay button locks while paying",
        "src/pay/button.tsx",
    ),
    topic("stock-badge", "the stock badge", "badge shows last three", "src/item/badge.tsx"),
    topic(
        "focus-trap",
        "the focus trap of the cart drawer",
        "focus returns to opener",
        "src/drawer/focus.ts",
    ),
    topic("delivery-slots", "delivery slot loading", "slots load lazily", "src/delivery/slots.ts"),
    topic("order-summary", "the order summary", "summary lists gift wrap", "src/order/summary.tsx"),
];

pub(crate) static BILLING: [Topic; 8] = [
    topic(
        "proration-leap",
        "proration in leap years",
        "proration::leap_february",
        "src/proration.rs",
    ),
    topic(
        "invoice-numbers",
        "gap-free invoice numbers",
        "invoice::numbers_have_no_gaps",
        "src/invoice/number.rs",
    ),
    topic(
        "dunning-schedule",
        "the dunning schedule",
        "dunning::skips_weekends",
        "src/dunning/schedule.rs",
    ),
    topic(
        "tax-rounding",
        "tax rounding per line",
        "tax::line_rounding_sums_up",
        "src/tax/round.rs",
    ),
    topic(
        "refund-idempotency",
        "refund idempotency",
        "refund::same_key_same_refund",
        "src/refund.rs",
    ),
    topic(
        "ledger-balance",
        "the ledger balance check",
        "ledger::debits_equal_credits",
        "src/ledger/balance.rs",
    ),
    topic("credit-notes", "credit notes", "credit::never_exceeds_invoice", "src/credit/note.rs"),
    topic(
        "usage-rollup",
        "the hourly usage rollup",
        "usage::late_events_count_once",
        "src/usage/rollup.rs",
    ),
];

pub(crate) static INFRA: [Topic; 8] = [
    topic(
        "staging-quota",
        "staging quotas",
        "plan is empty twice in a row",
        "modules/quota/main.tf",
    ),
    topic(
        "dns-ttl",
        "DNS time-to-live values",
        "zone has no orphan records",
        "modules/dns/zone.tf",
    ),
    topic("runner-images", "CI runner images", "runner image boots", "images/runner/build.tf"),
    topic(
        "backup-retention",
        "backup retention",
        "retention is thirty days",
        "modules/backup/policy.tf",
    ),
    topic(
        "cert-rotation",
        "certificate rotation",
        "no certificate under 14 days",
        "modules/cert/rotate.tf",
    ),
    topic("log-shipping", "log shipping", "every host ships logs", "modules/logs/ship.tf"),
    topic("vpc-peering", "network peering", "peers reach each other", "modules/net/peering.tf"),
    topic("alert-routes", "alert routes", "every alert has an owner", "modules/alerts/routes.tf"),
];

pub(crate) static MOBILE_APP: [Topic; 7] = [
    topic(
        "offline-queue",
        "the offline queue",
        "OfflineQueueTest.keepsOrder",
        "app/src/queue/OfflineQueue.kt",
    ),
    topic(
        "deep-links",
        "deep links",
        "DeepLinkTest.unknownPathOpensHome",
        "app/src/link/DeepLinks.kt",
    ),
    topic(
        "image-cache",
        "the image cache",
        "ImageCacheTest.evictsOldest",
        "app/src/image/ImageCache.kt",
    ),
    topic(
        "push-channels",
        "push channels",
        "ChannelTest.silentByDefault",
        "app/src/push/Channels.kt",
    ),
    topic("dark-theme", "the dark theme", "ThemeTest.contrastIsAa", "app/src/ui/Theme.kt"),
    topic(
        "login-biometrics",
        "biometric login",
        "BiometricTest.fallsBackToPin",
        "app/src/login/Biometric.kt",
    ),
    topic("list-scroll", "list scrolling", "ScrollTest.keepsPosition", "app/src/ui/ListScreen.kt"),
];

pub(crate) static DOCS: [Topic; 6] = [
    topic("quickstart", "the quickstart", "", "guide/quickstart.md"),
    topic("error-codes", "the table of error codes", "", "reference/errors.md"),
    topic("webhooks-guide", "the webhooks guide", "", "guide/webhooks.md"),
    topic("glossary", "the glossary", "", "reference/glossary.md"),
    topic("upgrade-notes", "the upgrade notes", "", "guide/upgrade.md"),
    topic("rate-limits-page", "the page on rate limits", "", "reference/limits.md"),
];
