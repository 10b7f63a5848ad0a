/*
 * How outputs reach a stream exactly once: sequences, the mark of what is out, snapshots, muted restarts and doubled copies.
 *
 *     input 1..N --> copy A --shared: records f..t--> consumer          own: "everything up to t is out"
 *                \-> copy B --^
 *
 * Each copy applies the input, puts its state away now and then, and sends what the own stream does not say is out: first to the
 * shared stream, and, once that is acknowledged, to its own. It may crash at any point. What it sent then is on its way still, and
 * lands later, or never. A copy that starts again goes on from its newest snapshot that is not past what its own stream says.
 *
 * A record may come out in PARTS, each with a record for the shared stream: the own stream's mark is that of whole records, and so are
 * snapshots. What a copy has sent of an unfinished one it does not send again, but one that starts again does.
 *
 * Whether a standby waits is left to chance: a copy may emit at any time, so two may.
 *
 * Always true: the consumer takes every record once and in order; and once nothing crashes any more it has taken all of them.
 *
 * Variants that are wrong, to see that the checker would notice:
 *     HIGHEST     the consumer keeps the highest number seen; with RETRY, a sender that goes on after a failure and sends again
 *     ANY_SNAPSHOT  a copy goes on from its newest snapshot, whatever is out
 *     CONTINUE    a failed delivery is taken for one that was made
 *     OWN_FIRST   the own stream is written before the shared one
 *     BY_MARK     a part is sent only if its mark is past what the own stream says: the first parts of a record never are
 */

#ifndef N
#define N 4
#endif
#ifndef CRASHES
#define CRASHES 3
#endif
#ifndef SNAPSHOTS
#define SNAPSHOTS 2
#endif
#ifndef PARTS
#define PARTS 1
#endif
#define WHOLE(part) ((part) - (part) % PARTS)
#define NOTHING 0

byte crashes = CRASHES;
byte snapshots = SNAPSHOTS;

/* Each stream as far as it matters: what the consumer has of the shared one, and the last message of the own one. */
byte last = 0;
byte taken = 0;          /* how many records were taken */
byte out = 0;            /* what the own stream's last message says */
bool stopped = false;    /* the consumer has met a gap */

/* Copies. */
byte older[2], newest[2];             /* snapshots on each one's disk: positions */

/* On their way: one message to each stream for each copy's life now, and one of an earlier life. */
typedef Flight { byte from; byte upto };
Flight to_shared[4];                  /* copy, and copy + 2 for an earlier life's */
Flight to_own[4];

inline take(slot) {
    r = to_shared[slot].from;
    goal = to_shared[slot].upto;
    to_shared[slot].from = 0; to_shared[slot].upto = NOTHING;
    do
    :: r > goal || stopped -> break
    :: else ->
        if
        :: r <= last -> skip                      /* a repeat */
        :: r == last + 1 -> last = r; taken++
        :: else ->                                /* r > last + 1: a gap */
#ifdef HIGHEST
            last = r; taken++
#else
            stopped = true
#endif
        fi;
        r++
    od;
    assert(taken == last);                        /* all up to the last one, and each once */
#ifndef RETRY
    assert(!stopped);                             /* what a sender sent, it sent without a gap */
#endif
    r = 0; goal = 0                               /* so that states that mean the same are the same */
}

/* What is on its way lands, in no order between copies and lives; or never. */
active proctype Network() {
    byte r, goal;
end:
    do
    :: atomic { to_shared[0].upto != NOTHING -> take(0) }
    :: atomic { to_shared[1].upto != NOTHING -> take(1) }
    :: atomic { to_shared[2].upto != NOTHING -> take(2) }
    :: atomic { to_shared[3].upto != NOTHING -> take(3) }
    :: atomic { to_shared[2].upto != NOTHING -> to_shared[2].from = 0; to_shared[2].upto = NOTHING }
    :: atomic { to_shared[3].upto != NOTHING -> to_shared[3].from = 0; to_shared[3].upto = NOTHING }
    :: atomic { to_own[0].upto != NOTHING -> out = to_own[0].upto; to_own[0].upto = NOTHING }
    :: atomic { to_own[1].upto != NOTHING -> out = to_own[1].upto; to_own[1].upto = NOTHING }
    :: atomic { to_own[2].upto != NOTHING -> out = to_own[2].upto; to_own[2].upto = NOTHING }
    :: atomic { to_own[3].upto != NOTHING -> out = to_own[3].upto; to_own[3].upto = NOTHING }
    :: atomic { to_own[2].upto != NOTHING -> to_own[2].upto = NOTHING }
    :: atomic { to_own[3].upto != NOTHING -> to_own[3].upto = NOTHING }
    od
}

#define RESTING 0
#define SHARED 1                      /* waits for the shared stream's acknowledgement */
#define OWN 2                         /* and for its own's */

proctype Copy(byte me) {
    byte pos, made, seen, sent, goal, first;
    byte at;

restart:
    atomic {
        seen = out;
        at = RESTING; first = 0; goal = 0; sent = 0;
#ifdef ANY_SNAPSHOT
        made = newest[me];
#else
        if
        :: newest[me] <= seen -> made = newest[me]
        :: newest[me] > seen && older[me] <= seen -> made = older[me]
        :: else -> made = 0
        fi;
#endif
        pos = made                    /* what it makes from here on begins behind that */
    }

end:
    do
    :: atomic { pos < N -> pos++ }

    :: atomic { snapshots > 0 && pos > newest[me] && pos == WHOLE(pos) -> snapshots--; older[me] = newest[me]; newest[me] = pos }

    :: atomic { out > seen -> seen = out }

    :: atomic {                       /* send what is not out: some of it, or all */
        at == RESTING && pos > seen && pos > made && pos > sent ->
        first = (seen > made -> seen : made);
        first = (sent > first -> sent : first) + 1;
        goal = first;
        do
        :: goal < pos -> goal++
        :: break
        od;
#ifdef OWN_FIRST
        to_own[me].upto = goal; at = OWN
#else
#ifdef BY_MARK
        to_shared[me].from = (first % PARTS == 1 -> first + 1 : first);
#else
        to_shared[me].from = first;
#endif
        to_shared[me].upto = goal; at = SHARED
#endif
      }

#ifdef OWN_FIRST
    :: atomic { at == OWN && to_own[me].upto == NOTHING -> to_shared[me].from = first; to_shared[me].upto = goal; at = SHARED }
    :: atomic { at == SHARED && to_shared[me].upto == NOTHING -> seen = (goal > seen -> goal : seen); at = RESTING; first = 0; goal = 0 }
#else
    :: atomic { at == SHARED && to_shared[me].upto == NOTHING -> to_own[me].upto = WHOLE(goal); at = OWN }
    :: atomic {
        at == OWN && to_own[me].upto == NOTHING ->
        seen = (WHOLE(goal) > seen -> WHOLE(goal) : seen);
        sent = (WHOLE(goal) == goal -> 0 : goal);
        at = RESTING; first = 0; goal = 0
      }
#endif

    :: atomic {                       /* a delivery fails: the copy stops, and starts again */
        crashes > 0 && at == SHARED && to_shared[me].upto != NOTHING ->
        crashes--;
#ifdef CONTINUE
        to_shared[me].upto = NOTHING  /* lost, and taken for made */
#else
#ifdef RETRY
        first = to_shared[me].from; to_shared[me].upto = NOTHING;
        made = goal                   /* goes on with what comes after, and sends this again later */
        if
        :: pos > goal -> to_shared[me].from = goal + 1; to_shared[me].upto = pos; goal = pos
        :: else -> to_shared[me].from = first; to_shared[me].upto = goal
        fi
#else
        goto crashed
#endif
#endif
      }

    :: atomic { crashes > 0 -> crashes--; goto crashed }
    od;

crashed:
    atomic {                          /* what is on its way stays so; what an earlier life had on its way is lost for good */
        to_shared[me + 2].from = to_shared[me].from;
        to_shared[me + 2].upto = to_shared[me].upto;
        to_shared[me].from = 0; to_shared[me].upto = NOTHING;
        to_own[me + 2].upto = to_own[me].upto;
        to_own[me].upto = NOTHING;
        goto restart
    }
}

/* When nothing can go on any more, all of it must be there. */
active proctype Monitor() {
    timeout -> assert(stopped || last == N)
}

init {
    atomic { run Copy(0); run Copy(1) }
}
