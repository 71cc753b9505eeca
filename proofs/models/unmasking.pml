/* Bounded model of the unmasking phase of securefl.secagg.masking under a fully malicious
   operator: N clients, the first C of them corrupted, threshold T. Sets are bit masks.
   Cryptography is ideal (signatures, shares); numbers are small; this is bounded model
   checking of an abstraction, not a proof about the code.

   Options (spin -D...), each a rule that the client enforces in the product:
     CONSISTENCY  it requires T signatures on the survivor set that it answers for
                  (Checked.next)
     ONCE         it answers one unmasking request a round (Unmasked.next, the journal)
     BINDROUND    signatures cover the round (Channel, every envelope); without it those of
                  an earlier round are accepted
     P2           check the second property too

   P1: the operator never gets both secrets of an honest client (self-mask seed and mask
       key), so it never opens one client's input.
   P2: whatever sum it can open has at least T - C honest members.                      */
#ifndef N
#define N 4
#endif
#ifndef T
#define T 3
#endif
#ifndef C
#define C 0
#endif
#if N == 3
#define SZ 8
#elif N == 4
#define SZ 16
#else
#define SZ 32
#endif
#define FULL ((1 << N) - 1)
#define BIT(v) (1 << (v))
#ifdef ONCE
#define NOTYET(i) (!(answered & BIT(i)))
#else
#define NOTYET(i) true
#endif

byte sigs[SZ];      /* sigs[S] = bitmask of clients whose signature on S the server holds (this round) */
byte old[SZ];       /* the same, from an earlier round */
byte signed_;           /* honest clients that already signed this round */
byte answered;          /* honest clients that already answered an unmask request */
byte bsh[N];            /* bsh[v] = holders whose share of b_v the server has */
byte ksh[N];            /* ksh[v] = holders whose share of sk_v the server has */
byte cnt, i, v, S, m;

inline popcount(x) { cnt = 0; for (m : 0 .. N-1) { if :: ((x) >> m) & 1 -> cnt++ :: else fi } }

/* earlier round: honest clients signed whatever (honest) set that round had */
init {
  /* corrupted clients sign everything and give all their shares */
  d_step {
    for (i : 0 .. FULL) { sigs[i] = BIT(C) - 1; old[i] = BIT(C) - 1 }
    for (i : 0 .. N-1) { bsh[i] = BIT(C) - 1; ksh[i] = BIT(C) - 1 }
    i = 0; m = 0
  }
  /* a previous round ended with some survivor set (chosen by the environment), everybody signed it */
  select(S : 0 .. FULL);
  old[S] = FULL;
  S = 0;
  do
  :: atomic { /* server asks an honest client to sign a set of at least T survivors */
       select(i : C .. N-1); select(S : 0 .. FULL);
       popcount(S);
       if :: cnt >= T && !(signed_ & BIT(i)) && (S & BIT(i)) -> sigs[S] = sigs[S] | BIT(i); signed_ = signed_ | BIT(i)
          :: else fi;
       i = 0; S = 0; cnt = 0; m = 0 }
  :: atomic { /* server sends an unmask request for set S to an honest client */
       select(i : C .. N-1); select(S : 0 .. FULL);
       popcount(S);
       if
       :: cnt >= T && (S & BIT(i)) && NOTYET(i) ->
#ifdef CONSISTENCY
#ifdef BINDROUND
          popcount(sigs[S]);
#else
          popcount(sigs[S] | old[S]);
#endif
#else
          cnt = N;
#endif
          if
          :: cnt >= T ->
             answered = answered | BIT(i);
             for (v : 0 .. N-1) {
               if :: S & BIT(v) -> bsh[v] = bsh[v] | BIT(i)
                  :: else       -> ksh[v] = ksh[v] | BIT(i) fi
             }
          :: else fi
       :: else fi;
       i = 0; S = 0; cnt = 0; m = 0; v = 0 }
  :: atomic { /* the adversary wins? */
       for (v : C .. N-1) {
         popcount(bsh[v]);
         if :: cnt >= T -> S = S | BIT(v) :: else fi;          /* self masks known */
         popcount(ksh[v]);
         if :: cnt >= T -> assert(!(S & BIT(v))); answered = answered :: else fi  /* P1: never both */
       }
#ifdef P2
       /* P2: if every honest client is resolved (b or sk known), the opened set has >= T - C honest members */
       i = 0;
       for (v : C .. N-1) { popcount(ksh[v]); if :: cnt >= T || (S & BIT(v)) -> i++ :: else fi }
       if :: i == N - C -> popcount(S); assert(cnt + C >= T || cnt == 0) :: else fi;
#endif
       i = 0; S = 0; cnt = 0; m = 0; v = 0 }
  od
}
