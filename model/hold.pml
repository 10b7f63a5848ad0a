/*
 * What is frozen for an order while messages about it are on their way, in both directions.
 *
 *     UBSCore --orders: move, reduce, cancel--> engine --outcomes: fill, moved, reduced, done--> UBSCore
 *
 * A buyer has one order resting, and everything that is not frozen for it may be withdrawn at any moment. The engine fills it whenever
 * it likes, at the price that it stands at there.
 *
 * Always true: a fill spends no more than is frozen; nothing is negative; and once nothing is on its way, exactly the worst cost is
 * frozen.
 *
 * Variants that are wrong:
 *     AT_ONCE     the hold is re-priced when the move is asked for, not when the engine says `moved`
 *     ON_REQUEST  a cancel releases the hold when it is asked for, not when the engine says `done`
 *     TWO_MOVES   a second move is taken while one is under way
 */

#define LOTS 3
#define PRICES 3                      /* prices are 1 .. PRICES */
#define FUNDS 12
#define CHANGES 3                     /* moves, reductions and cancels that are asked for */

mtype = { move, reduce, cancel, fill, moved, move_rejected, reduced, done, cancel_rejected };

chan orders = [2] of { mtype, byte };
chan outcomes = [4] of { mtype, byte };

/* UBSCore. */
short available = FUNDS - 2 * LOTS;
short frozen = 2 * LOTS;
byte price = 2, moving = 0, open_lots = LOTS;
byte withdrawn = 0;
byte spent = 0;

/* The engine. */
byte standing = 2, engine_lots = LOTS;

#define WORST ((moving > price -> moving : price) * open_lots)

inline release_surplus() {
    if
    :: frozen > WORST -> available = available + frozen - WORST; frozen = WORST
    :: else -> skip
    fi
}

inline check() {
    assert(frozen >= 0 && available >= 0);
    assert(available + frozen + withdrawn + spent == FUNDS)
}

active proctype UBSCore() {
    byte changes = CHANGES, x, more;
end:
    do
    :: atomic {                       /* a move */
        changes > 0 && open_lots > 0 && nfull(orders) ->
        changes--;
        if
        :: x = 1
        :: x = 2
        :: x = 3
        fi;
        if
#ifndef TWO_MOVES
        :: moving != 0 -> skip        /* refused: one at a time */
#endif
        :: else ->
            more = (x > price -> (x - price) * open_lots : 0);
            if
            :: more > available -> skip        /* refused: it can't be paid for */
            :: else ->
                moving = x;
                available = available - more;
                frozen = frozen + more;
#ifdef AT_ONCE
                price = x;
                release_surplus();
#endif
                orders ! move(x)
            fi
        fi;
        check()
      }
    :: atomic {                       /* a reduction by one lot: nothing changes yet */
        changes > 0 && open_lots > 0 && nfull(orders) -> changes--; orders ! reduce(1)
      }
    :: atomic {                       /* a cancel */
        changes > 0 && open_lots > 0 && nfull(orders) ->
        changes--;
#ifdef ON_REQUEST
        available = available + frozen; frozen = 0;
#endif
        orders ! cancel(0);
        check()
      }
    :: atomic { available > 0 -> available--; withdrawn++; check() }

    :: atomic {
        outcomes ? fill(x) ->
        frozen = frozen - x;
        assert(frozen >= 0);          /* a fill spends only what its own order froze */
        spent = spent + x;
        open_lots--;
        if
        :: open_lots == 0 -> available = available + frozen; frozen = 0; moving = 0
        :: else -> release_surplus()
        fi;
        check()
      }
    :: atomic {
        outcomes ? moved(x) ->
        price = x; moving = 0;
        release_surplus();
        check()
      }
    :: atomic { outcomes ? move_rejected(x) -> if :: open_lots > 0 -> moving = 0; release_surplus() :: else -> skip fi; check() }
    :: atomic { outcomes ? reduced(x) -> open_lots--; release_surplus(); check() }
    :: atomic { outcomes ? done(x) -> available = available + frozen; frozen = 0; open_lots = 0; moving = 0; check() }
    :: atomic { outcomes ? cancel_rejected(x) -> skip }
    od
}

active proctype Engine() {
    byte x;
end:
    do
    :: atomic { engine_lots > 0 && nfull(outcomes) -> engine_lots--; outcomes ! fill(standing) }
    :: atomic {
        nfull(outcomes) && orders ? [move(x)] ->
        orders ? move(x);
        if
        :: engine_lots > 0 -> standing = x; outcomes ! moved(x)
        :: outcomes ! move_rejected(x)           /* it is filled, or the band does not have the price */
        fi
      }
    :: atomic {
        nfull(outcomes) && orders ? [reduce(x)] ->
        orders ? reduce(x);
        if
        :: engine_lots > 1 -> engine_lots--; outcomes ! reduced(x)
        :: engine_lots == 1 -> engine_lots = 0; outcomes ! done(x)
        :: engine_lots == 0 -> outcomes ! cancel_rejected(x)
        fi
      }
    :: atomic {
        nfull(outcomes) && orders ? [cancel(x)] ->
        orders ? cancel(x);
        if
        :: engine_lots > 0 -> engine_lots = 0; outcomes ! done(x)
        :: engine_lots == 0 -> outcomes ! cancel_rejected(x)
        fi
      }
    od
}

/* When nothing is on its way and nothing more happens, what is frozen is what the order can cost. */
active proctype Monitor() {
    timeout -> assert(open_lots == engine_lots && frozen == price * open_lots)
}
