//! A difference between the database and Redis: what it is, why it came about, and what is done about it.

use crate::locale::Locale;

use super::reserved::Leak;
use super::store::Stored;

/// Which of the two is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Source {
    /// The database: Redis is repaired
    Db,
    /// Redis: the database is repaired
    Redis,
}

impl Source {
    /// Its value in the tables.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Db => "DB",
            Self::Redis => "REDIS",
        }
    }
}

/// Why the two differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::jobs::stock) enum Cause {
    /// Redis has no key for a product.
    MissingInRedis,
    /// Redis has less than the database: units were reserved and never given back.
    ReservationLeaked,
    /// Redis has more than the database: what was sold was not taken from it.
    LateDecrement,
    /// Redis has less than nothing.
    Negative,
    /// Redis has a key of a product that does not exist.
    KeyWithoutProduct,
    /// What is at the key is not a number.
    WrongType,
}

impl Cause {
    const ALL: [Self; 6] = [
        Self::MissingInRedis,
        Self::ReservationLeaked,
        Self::LateDecrement,
        Self::Negative,
        Self::KeyWithoutProduct,
        Self::WrongType,
    ];

    /// Its value in the table and in events.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::MissingInRedis => "MISSING_IN_REDIS",
            Self::ReservationLeaked => "RESERVATION_LEAKED",
            Self::LateDecrement => "LATE_DECREMENT",
            Self::Negative => "NEGATIVE",
            Self::KeyWithoutProduct => "KEY_WITHOUT_PRODUCT",
            Self::WrongType => "WRONG_TYPE",
        }
    }

    /// The cause of a row.
    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.word() == word)
    }

    /// For people.
    pub(crate) fn shown(self, locale: Locale) -> &'static str {
        match self {
            Self::MissingInRedis => locale.pick("missing in Redis", "Redis に未登録", "Redis에 없음"),
            Self::ReservationLeaked => locale.pick("reservation leaked", "予約の解放漏れ", "예약 누수"),
            Self::LateDecrement => locale.pick("late decrement", "減算の遅れ", "차감 지연"),
            Self::Negative => locale.pick("negative", "マイナス在庫", "음수 재고"),
            Self::KeyWithoutProduct => locale.pick("key without product", "商品のないキー", "상품 없는 키"),
            Self::WrongType => locale.pick("wrong type", "型の不一致", "타입 불일치"),
        }
    }
}

/// A difference that has lasted.
#[derive(Debug, Clone)]
pub(super) struct Difference {
    /// Which of the malls.
    pub(super) place: usize,
    /// The product; `None` if there is none.
    pub(super) product: Option<i64>,
    /// Its code, or what stands in its place in the key.
    pub(super) code: String,
    /// The key.
    pub(super) key: String,
    /// What the database has in stock.
    pub(super) quantity: Option<i64>,
    /// What Redis has.
    pub(super) stored: Stored,
    /// What is reserved by orders that the database does not count yet, or not any more: so much less has Redis.
    pub(super) held: i128,
    /// Orphaned reservations of this product.
    pub(super) leaked: Vec<Leak>,
    /// Whether all of the mall's reservations could be read.
    pub(super) is_held_known: bool,
}

/// What is done about a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// Redis becomes this.
    SetRedis(i64),
    /// The key is deleted.
    DeleteKey,
    /// The database becomes this.
    SetDatabase(i64),
    /// Nothing, because.
    Leave(&'static str),
}

impl Difference {
    /// What Redis would have if all were right.
    fn expected(&self) -> Option<i128> {
        Some(i128::from(self.quantity?) - self.held)
    }

    /// By how much Redis has more than it should.
    pub(super) fn surplus(&self) -> Option<i128> {
        match self.stored {
            Stored::Number(number) => Some(i128::from(number) - self.expected()?),
            _ => None,
        }
    }

    /// By how much Redis has more than the database, whatever is reserved.
    pub(super) fn gap(&self) -> Option<i128> {
        match self.stored {
            Stored::Number(number) => Some(i128::from(number) - i128::from(self.quantity?)),
            _ => None,
        }
    }

    pub(super) fn cause(&self) -> Cause {
        match (&self.product, &self.stored) {
            (None, _) => Cause::KeyWithoutProduct,
            (_, Stored::Missing) => Cause::MissingInRedis,
            (_, Stored::Text(_) | Stored::Other(_)) => Cause::WrongType,
            (_, Stored::Number(..0)) => Cause::Negative,
            _ if self.surplus().is_some_and(|surplus| surplus < 0) => Cause::ReservationLeaked,
            _ => Cause::LateDecrement,
        }
    }

    pub(super) fn plan(&self, source: Source) -> Plan {
        let fits = |number: Option<i128>| number.and_then(|number| i64::try_from(number).ok());
        match (source, self.cause()) {
            // It may be another program's.
            (_, Cause::WrongType) => Plan::Leave("it may be another program's"),
            (Source::Db, Cause::KeyWithoutProduct) => Plan::DeleteKey,
            (Source::Redis, Cause::KeyWithoutProduct) => Plan::Leave("there is no product to take it over"),
            (Source::Redis, Cause::MissingInRedis) => Plan::Leave("Redis has no number to take over"),
            (Source::Redis, Cause::Negative) => Plan::Leave("a negative number is not taken over"),
            _ if !self.is_held_known => Plan::Leave("a reservation of its mall cannot be read"),
            (Source::Db, _) => {
                fits(self.expected()).map_or(Plan::Leave("the number is too large"), Plan::SetRedis)
            }
            (Source::Redis, _) => {
                let quantity = self.surplus().and_then(|surplus| Some(i128::from(self.quantity?) + surplus));
                fits(quantity).map_or(Plan::Leave("the number is too large"), Plan::SetDatabase)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(product: Option<i64>, quantity: Option<i64>, stored: Stored, held: i128) -> Difference {
        let (code, key) = ("P".to_owned(), "stock:tokyo:P".to_owned());
        let leaked = Vec::new();
        Difference { place: 0, product, code, key, quantity, stored, held, leaked, is_held_known: true }
    }

    #[test]
    fn each_cause_has_its_plan() {
        use Plan::{DeleteKey, Leave, SetDatabase, SetRedis};
        use Stored::{Missing, Number, Other, Text};
        let (other, large) = ("it may be another program's", "the number is too large");
        let none = "Redis has no number to take over";
        let negative = "a negative number is not taken over";
        let no_product = "there is no product to take it over";
        for (product, quantity, stored, held, cause, by_database, by_redis) in [
            (Some(1), Some(10), Missing, 3, Cause::MissingInRedis, SetRedis(7), Leave(none)),
            (Some(1), Some(10), Number(7), 0, Cause::ReservationLeaked, SetRedis(10), SetDatabase(7)),
            (Some(1), Some(10), Number(6), 3, Cause::ReservationLeaked, SetRedis(7), SetDatabase(9)),
            (Some(1), Some(10), Number(12), 0, Cause::LateDecrement, SetRedis(10), SetDatabase(12)),
            (Some(1), Some(10), Number(10), 3, Cause::LateDecrement, SetRedis(7), SetDatabase(13)),
            (Some(1), Some(0), Number(-1), 0, Cause::Negative, SetRedis(0), Leave(negative)),
            (None, None, Number(4), 0, Cause::KeyWithoutProduct, DeleteKey, Leave(no_product)),
            (Some(1), Some(1), Other("hash".to_owned()), 0, Cause::WrongType, Leave(other), Leave(other)),
            (Some(1), Some(1), Text(None), 0, Cause::WrongType, Leave(other), Leave(other)),
            (Some(1), Some(i64::MIN), Number(0), 9, Cause::LateDecrement, Leave(large), SetDatabase(9)),
        ] {
            let difference = difference(product, quantity, stored, held);
            let plans = [Source::Db, Source::Redis].map(|source| difference.plan(source));
            assert_eq!((difference.cause(), plans), (cause, [by_database, by_redis]), "{difference:?}");
            assert_eq!(Cause::of(cause.word()), Some(cause));
        }
    }

    #[test]
    fn nothing_is_computed_from_reservations_that_are_not_known() {
        let unknown = |product, stored| Difference {
            is_held_known: false,
            ..difference(product, product.map(|_| 10), stored, 0)
        };
        for source in [Source::Db, Source::Redis] {
            for number in [7, 12] {
                let plan = unknown(Some(1), Stored::Number(number)).plan(source);
                assert_eq!(plan, Plan::Leave("a reservation of its mall cannot be read"), "{number}");
            }
        }
        assert!(matches!(unknown(Some(1), Stored::Missing).plan(Source::Db), Plan::Leave(_)));
        // What has no product is reserved by nobody.
        assert_eq!(unknown(None, Stored::Number(4)).plan(Source::Db), Plan::DeleteKey);
    }
}
