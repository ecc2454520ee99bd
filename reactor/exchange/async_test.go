// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/internal/relay"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/exchange"
)

// number is the key by which sameNumber matches.
func number(p []byte) []byte {
	n, _, _ := bytes.Cut(p, []byte(":"))
	return n
}

// Both ways to tell replies apart; each test that can runs over both.
var tellings = []struct {
	name    string
	options exchange.AsyncOptions
}{
	{"Match", exchange.AsyncOptions{Options: exchange.Options{Match: sameNumber}}},
	{"Key", exchange.AsyncOptions{Key: number}},
}

// eachTelling runs body with the options of each way, on one loop and on several.
func eachTelling(t *testing.T, body func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions)) {
	t.Helper()
	for _, telling := range tellings {
		for _, loops := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/loops=%d", telling.name, loops), func(t *testing.T) {
				body(t, serving(t, loops), telling.options)
			})
		}
	}
}

// serving returns a reactor that serves until the test ends and logs there.
func serving(t *testing.T, loops int) *reactor.Reactor {
	t.Helper()
	r := idle(t, loops)
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(context.Background()) }()
	t.Cleanup(func() { require.NoError(t, r.Close()); <-ended })
	return r
}

// idle is serving before Serve.
func idle(t *testing.T, loops int) *reactor.Reactor {
	t.Helper()
	r, err := reactor.New(reactor.Options{Loops: loops, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	require.NoError(t, err)
	t.Cleanup(func() {
		for r.Close() != nil { // a loop with thousands of requests to end passes for stuck, on a slow machine
		}
	})
	return r
}

func async(t *testing.T, r *reactor.Reactor, address string, o exchange.AsyncOptions) *exchange.Async {
	t.Helper()
	a, err := exchange.New(r, "udp", address, &o)
	require.NoError(t, err)
	return a
}

// An answer is what a done was called with.
type answer struct {
	reply string
	some  bool // reply was not nil
	err   error
}

// ask asks and returns where the answer will be.
func ask(t *testing.T, ctx context.Context, a *exchange.Async, request string) <-chan answer {
	t.Helper()
	answers := make(chan answer, 1)
	payload := []byte(request)
	once := false
	require.NoError(t, a.Do(ctx, payload, func(reply []byte, err error) {
		if once {
			t.Errorf("%.20q: told twice", request)
			return
		}
		once = true
		answers <- answer{string(reply), reply != nil, err}
		clear(reply) // which is not the caller's later
	}))
	clear(payload) // which is not kept
	return answers
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}

// expect wants a reply.
func expect(t *testing.T, answers <-chan answer, want string) {
	t.Helper()
	got := receive(t, answers)
	require.NoError(t, got.err)
	require.True(t, got.some)
	require.True(t, want == got.reply, "%.80q of %d bytes", got.reply, len(got.reply))
}

// fail wants an error.
func fail(t *testing.T, answers <-chan answer, as error) error {
	t.Helper()
	got := receive(t, answers)
	require.False(t, got.some)
	require.ErrorIs(t, got.err, as)
	return got.err
}

// with returns options with another Backoff.
func with(o exchange.AsyncOptions, b exchange.Backoff) exchange.AsyncOptions {
	o.Backoff = b
	return o
}

func TestAsyncReply(t *testing.T) {
	eachTelling(t, func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions) {
		a := async(t, r, serve(t, echo).String(), with(o, patient))
		for _, n := range []int{5, 0, 1, 1472, 65507} {
			p := strings.Repeat(string('a'+rune(n%26)), n)
			expect(t, ask(t, t.Context(), a, p), p)
		}
		require.Equal(t, exchange.Stats{Requests: 5, Tries: 5, Replies: 5}, a.Stats())
		require.Zero(t, a.InFlight())
	})
}

// Many are in flight and answered in the opposite order, some twice; each gets its own.
func TestAsyncManyInFlight(t *testing.T) {
	const many = 100
	eachTelling(t, func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions) {
		var all []string
		peer := serve(t, func(request string, reply func(string)) {
			if all = append(all, request); len(all) < many {
				return
			}
			for i := range all {
				p := all[many-1-i] + " answered"
				reply(p)
				if i%10 == 0 {
					reply(p)
				}
			}
			reply("nobody's")
		})
		a := async(t, r, peer.String(), with(o, patient))
		answers := make([]<-chan answer, many)
		for i := range answers {
			answers[i] = ask(t, t.Context(), a, fmt.Sprintf("%d:x", i))
		}
		for i := range answers {
			expect(t, answers[i], fmt.Sprintf("%d:x answered", i))
		}
		eventually(t, func() bool { return a.Stats().Unmatched == many/10+1 })
		require.Equal(t, exchange.Stats{Requests: many, Tries: many, Replies: many, Unmatched: many/10 + 1}, a.Stats())
	})
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, patience, time.Millisecond)
}

// Of requests that one reply could answer, that is the first that is told.
func TestAsyncSameKey(t *testing.T) {
	eachTelling(t, func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions) {
		came := 0
		a := async(t, r, serve(t, func(_ string, reply func(string)) {
			if came++; came == 3 {
				reply("1:A")
				reply("1:B")
				reply("1:C")
				reply("1:D")
			}
		}).String(), with(o, patient))
		var answers []<-chan answer
		for _, request := range []string{"1:a", "1:b", "1:c"} {
			answers = append(answers, ask(t, t.Context(), a, request))
		}
		for i, want := range []string{"1:A", "1:B", "1:C"} {
			expect(t, answers[i], want)
		}
		eventually(t, func() bool { return a.Stats().Unmatched == 1 })
	})
}

// With both, Match is asked about what has the same key, and nothing else.
func TestAsyncKeyAndMatch(t *testing.T) {
	r := serving(t, 1)
	a := async(t, r, serve(t, func(request string, reply func(string)) {
		reply("1:wrong")
		reply("2:right")
		reply("1:right")
	}).String(), exchange.AsyncOptions{Key: number, Options: exchange.Options{Backoff: patient, Match: func(request, reply []byte) bool {
		if !bytes.Equal(number(request), number(reply)) {
			panic("another key")
		}
		return bytes.HasSuffix(reply, []byte("right"))
	}}})
	expect(t, ask(t, t.Context(), a, "1:?"), "1:right")
	require.EqualValues(t, 2, a.Stats().Unmatched)
}

// A reply that does not fit into the socket's buffers is none.
func TestAsyncTruncated(t *testing.T) {
	r := serving(t, 1)
	a := async(t, r, serve(t, func(request string, reply func(string)) {
		reply(request + " and more")
		reply(request)
	}).String(), exchange.AsyncOptions{Options: exchange.Options{Backoff: patient}, Socket: reactor.PacketOptions{MaxDatagram: 5}})
	expect(t, ask(t, t.Context(), a, "hello"), "hello")
	require.EqualValues(t, 1, a.Stats().Unmatched)
}

func TestAsyncRetry(t *testing.T) {
	eachTelling(t, func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions) {
		came := 0
		a := async(t, r, serve(t, func(request string, reply func(string)) {
			if came++; came > 3 {
				reply(request)
			}
		}).String(), with(o, hasty))
		expect(t, ask(t, t.Context(), a, "1:hello"), "1:hello")
		require.GreaterOrEqual(t, a.Stats().Tries, uint64(4)) // more if the machine is slow
	})
}

// Silence and refusals end with the schedule, and tell which it was.
func TestAsyncNoReply(t *testing.T) {
	eachTelling(t, func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions) {
		for _, test := range []struct {
			name string
			peer net.Addr
			last error
		}{
			{"silent", socket(t, "127.0.0.1:0").LocalAddr(), nil},
			{"refused", reserve(t).LocalAddr(), syscall.ECONNREFUSED},
		} {
			t.Run(test.name, func(t *testing.T) {
				a := async(t, r, test.peer.String(), with(o, brief))
				var answers []<-chan answer
				for i := range 20 {
					answers = append(answers, ask(t, t.Context(), a, fmt.Sprintf("%d:hello", i)))
				}
				for i := range answers {
					err := fail(t, answers[i], os.ErrDeadlineExceeded)
					var none *exchange.NoReplyError
					require.ErrorAs(t, err, &none)
					require.Equal(t, 3, none.Tries)
					require.Equal(t, 7*time.Millisecond, none.Waited)
					require.Equal(t, test.peer, none.Peer)
					require.ErrorContains(t, err, "exchange: no reply from "+test.peer.String()+" to 3 tries in 7ms: the server may be down")
					if runtime.GOOS == "linux" || test.last == nil { // what is reported, and when, is the system's
						require.ErrorIs(t, none.Last, test.last)
					}
				}
				require.EqualValues(t, 60, a.Stats().Tries)
				require.Equal(t, test.last == nil, a.Stats().Errors == 0)
				require.Zero(t, a.InFlight())
			})
		}
	})
}

// A request that no datagram can hold ends at once and costs the others nothing.
func TestAsyncTooLong(t *testing.T) {
	eachTelling(t, func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions) {
		peer := serve(t, echo)
		a := async(t, r, peer.String(), with(o, patient))
		err := fail(t, ask(t, t.Context(), a, strings.Repeat("x", 65508)), syscall.EMSGSIZE)
		require.ErrorContains(t, err, "exchange: request of 65508 bytes to "+peer.String()+": ")
		expect(t, ask(t, t.Context(), a, "1:hello"), "1:hello")
	})
}

// At MaxInFlight nothing is taken; a request that ends makes room for the next, in its own done already.
func TestAsyncMaxInFlight(t *testing.T) {
	for _, test := range []struct {
		name    string
		options exchange.AsyncOptions
		limit   int
	}{
		{"chosen", exchange.AsyncOptions{Key: number, MaxInFlight: 3}, 3},
		{"any reply", exchange.AsyncOptions{}, 1},
		{"any reply, no limit", exchange.AsyncOptions{MaxInFlight: -1}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := serving(t, 1)
			a := async(t, r, serve(t, func(request string, reply func(string)) {
				if strings.HasSuffix(request, "answer") {
					reply(request)
				}
			}).String(), with(test.options, patient))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var answers []<-chan answer
			for i := range test.limit - 1 {
				answers = append(answers, ask(t, ctx, a, fmt.Sprintf("%d:", i)))
			}
			again := make(chan error, 2)
			require.NoError(t, a.Do(t.Context(), []byte("x:answer"), func(_ []byte, err error) {
				again <- err
				again <- a.Do(ctx, []byte("y:"), func([]byte, error) { again <- errors.New("told") })
			}))
			require.NoError(t, receive(t, again))
			require.NoError(t, receive(t, again))
			require.Equal(t, exchange.ErrInFlight, a.Do(ctx, nil, func([]byte, error) { panic("told") }))
			require.Equal(t, test.limit, a.InFlight())
			cancel()
			for i := range answers {
				fail(t, answers[i], context.Canceled)
			}
			require.EqualError(t, receive(t, again), "told")
			require.Zero(t, a.InFlight())
			expect(t, ask(t, t.Context(), a, "z:answer"), "z:answer")
		})
	}
}

// The limits count what waits for the socket too.
func TestAsyncMaxInFlightBeforeServe(t *testing.T) {
	r := idle(t, 1)
	for limit, o := range map[int]exchange.AsyncOptions{
		1:                           {},
		2:                           {Key: number, MaxInFlight: 2},
		exchange.DefaultMaxInFlight: {Key: number},
		1 << 16:                     {Key: number, MaxInFlight: -1},
	} {
		a := async(t, r, "127.0.0.1:9", o)
		taken := 0
		for a.Do(t.Context(), nil, func([]byte, error) {}) == nil {
			taken++
		}
		require.Equal(t, limit, taken)
		require.Equal(t, limit, a.InFlight())
	}
}

// When the loop can be given no more work Do says so, and an end of a context is noticed nevertheless.
func TestAsyncMailboxFull(t *testing.T) {
	r, err := reactor.New(reactor.Options{Loops: 1, MailboxLimit: 8})
	require.NoError(t, err)
	served := make(chan error)
	go func() { served <- r.Serve(context.Background()) }()
	o := with(tellings[1].options, hasty)
	a := async(t, r, serve(t, echo).String(), o)
	silent := async(t, r, socket(t, "127.0.0.1:0").LocalAddr().String(), o)
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := ask(t, ctx, silent, "1:")

	held, release := make(chan struct{}), make(chan struct{})
	require.NoError(t, a.Do(t.Context(), nil, func([]byte, error) {
		close(held)
		<-release
	}))
	receive(t, held)
	taken, told := 0, make(chan error, 8)
	for err == nil {
		if err = a.Do(t.Context(), nil, func(_ []byte, err error) { told <- err }); err == nil {
			taken++
		}
	}
	require.Equal(t, reactor.ErrMailboxFull, err)
	require.LessOrEqual(t, taken, 8)
	require.Equal(t, taken, a.InFlight())
	cancel()
	close(release)
	for range taken {
		require.NoError(t, receive(t, told))
	}
	fail(t, cancelled, context.Canceled)
	require.NoError(t, r.Close())
	require.NoError(t, receive(t, served))
}

// A context that is done sends nothing; one that ends in flight ends its own request, with the cause and what ICMP said.
func TestAsyncCancelled(t *testing.T) {
	eachTelling(t, func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions) {
		came := make(chan string, 1)
		a := async(t, r, serve(t, func(request string, reply func(string)) {
			came <- request
			if strings.HasPrefix(request, "2") {
				reply("1:late")
				reply(request)
			}
		}).String(), with(o, patient))
		done, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorContains(t, fail(t, ask(t, done, a, "0:never sent"), context.Canceled), " to 0 tries: ")
		require.Zero(t, a.Stats().Tries)

		enough := errors.New("enough")
		ctx, cancelBecause := context.WithCancelCause(t.Context())
		defer cancelBecause(nil)
		first := ask(t, ctx, a, "1:hello")
		require.Equal(t, "1:hello", receive(t, came))
		cancelBecause(enough)
		require.ErrorContains(t, fail(t, first, enough), " to 1 tries: enough")
		expect(t, ask(t, t.Context(), a, "2:hello"), "2:hello")
		require.Equal(t, exchange.Stats{Requests: 3, Tries: 2, Replies: 1, Unmatched: 1}, a.Stats())
	})
}

// However the socket ends, everything in flight is told, and nothing is taken later.
func TestAsyncEnds(t *testing.T) {
	const requests = 50
	for _, test := range []struct {
		name string
		end  func(a *exchange.Async, r *reactor.Reactor) error
		also error
	}{
		{"Close", func(a *exchange.Async, _ *reactor.Reactor) error { return a.Close() }, nil},
		{"Shutdown", func(_ *exchange.Async, r *reactor.Reactor) error { return r.Shutdown(context.Background()) }, reactor.ErrShutdown},
		{"Close of the reactor", func(_ *exchange.Async, r *reactor.Reactor) error { return r.Close() }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachTelling(t, func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions) {
				a := async(t, r, socket(t, "127.0.0.1:0").LocalAddr().String(), with(o, patient))
				var answers []<-chan answer
				for i := range requests {
					answers = append(answers, ask(t, t.Context(), a, fmt.Sprintf("%d:", i)))
				}
				require.NoError(t, test.end(a, r))
				for i := range answers {
					err := fail(t, answers[i], net.ErrClosed)
					if test.also != nil {
						require.ErrorIs(t, err, test.also)
					}
				}
				require.Zero(t, a.InFlight())
				require.ErrorIs(t, a.Do(t.Context(), nil, func([]byte, error) { panic("told") }), net.ErrClosed)
				require.ErrorIs(t, a.Close(), net.ErrClosed)
			})
		})
	}
}

// What is asked before there is a socket waits for it, and is told if there will be none.
func TestAsyncBeforeServe(t *testing.T) {
	peer := serve(t, echo).String()
	_, port, _ := net.SplitHostPort(peer)
	for _, address := range []string{peer, "localhost:" + port} {
		r := idle(t, 1)
		o := with(tellings[1].options, patient)
		a, closed := async(t, r, address, o), async(t, r, address, o)
		none := async(t, r, "127.0.0.1:no-such-service", o)

		first, second := ask(t, t.Context(), a, "1:"), ask(t, t.Context(), a, "2:")
		ctx, cancel := context.WithCancel(t.Context())
		cancelled := ask(t, ctx, a, "3:")
		cancel()
		early := ask(t, t.Context(), closed, "4:")
		require.NoError(t, closed.Close())
		require.ErrorIs(t, closed.Close(), net.ErrClosed)
		require.ErrorIs(t, closed.Do(t.Context(), nil, func([]byte, error) { panic("told") }), net.ErrClosed)
		nobody := ask(t, t.Context(), none, "5:")

		served := make(chan error)
		go func() { served <- r.Serve(context.Background()) }()
		expect(t, first, "1:")
		expect(t, second, "2:")
		fail(t, cancelled, context.Canceled)
		fail(t, early, net.ErrClosed)
		var dial *net.OpError
		require.ErrorAs(t, receive(t, nobody).err, &dial)
		require.Equal(t, "dial", dial.Op)
		require.Equal(t, error(dial), none.Do(t.Context(), nil, func([]byte, error) { panic("told") }))
		require.NoError(t, r.Close())
		require.NoError(t, receive(t, served))
	}

	// A reactor that never serves tells too.
	r := idle(t, 2)
	a := async(t, r, peer, exchange.AsyncOptions{})
	answers := ask(t, t.Context(), a, "1:")
	require.NoError(t, r.Close())
	fail(t, answers, net.ErrClosed)
}

// A done that panics, or ends its goroutine, and a Match that does, harm no other request: whatever calls them.
func TestAsyncPanics(t *testing.T) {
	for _, test := range []struct {
		name  string
		crash func()
	}{{"panic", func() { panic("of a test") }}, {"Goexit", runtime.Goexit}} {
		t.Run(test.name, func(t *testing.T) {
			eachTelling(t, func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions) {
				echoing, silent := serve(t, echo).String(), socket(t, "127.0.0.1:0").LocalAddr().String()
				told := make(chan error, 16)
				crashing := func(_ []byte, err error) {
					told <- err
					test.crash()
				}
				done, cancel := context.WithCancel(t.Context())
				cancel()

				replied := async(t, r, echoing, with(o, patient))
				require.NoError(t, replied.Do(t.Context(), []byte("1:"), crashing))
				require.NoError(t, receive(t, told))
				require.NoError(t, replied.Do(done, []byte("2:"), crashing))
				require.ErrorIs(t, receive(t, told), context.Canceled)
				expect(t, ask(t, t.Context(), replied, "3:"), "3:")

				givenUp := async(t, r, silent, with(o, brief))
				for range 4 {
					require.NoError(t, givenUp.Do(t.Context(), []byte("4:"), crashing))
				}
				for range 4 {
					require.ErrorIs(t, receive(t, told), os.ErrDeadlineExceeded)
				}
				require.Zero(t, givenUp.InFlight())

				closed := async(t, r, silent, with(o, patient))
				for i := range 4 {
					require.NoError(t, closed.Do(t.Context(), fmt.Appendf(nil, "%d:", i), crashing))
				}
				require.NoError(t, closed.Close())
				for range 4 {
					require.ErrorIs(t, receive(t, told), net.ErrClosed)
				}

				crashed := false
				o.Match = func(request, reply []byte) bool {
					if !crashed {
						crashed = true
						test.crash()
					}
					return sameNumber(request, reply)
				}
				matched := async(t, r, echoing, with(o, hasty))
				expect(t, ask(t, t.Context(), matched, "5:"), "5:")
			})
		})
	}
}

// Panics of early requests, of which some end as the socket comes, spoil neither it nor the others.
func TestAsyncEarlyPanics(t *testing.T) {
	for _, address := range []string{serve(t, echo).String(), "127.0.0.1:no-such-service"} {
		r := idle(t, 1)
		a := async(t, r, address, with(tellings[1].options, patient))
		done, cancel := context.WithCancel(t.Context())
		cancel()
		told := make(chan error, 8)
		for range 4 {
			require.NoError(t, a.Do(done, nil, func(_ []byte, err error) {
				told <- err
				panic("of a test")
			}))
		}
		last := ask(t, t.Context(), a, "5:")
		served := make(chan error)
		go func() { served <- r.Serve(context.Background()) }()
		for range 4 {
			require.Error(t, receive(t, told))
		}
		if answer := receive(t, last); answer.err == nil {
			require.Equal(t, "5:", answer.reply)
		} else {
			require.ErrorContains(t, answer.err, "no-such-service")
		}
		require.NoError(t, r.Close())
		require.NoError(t, receive(t, served))
	}
}

// Handlers on any loop ask for what they need to answer, and their connection's end cancels it.
func TestAsyncFromHandlers(t *testing.T) {
	eachTelling(t, func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions) {
		came := make(chan struct{}, 16)
		a := async(t, r, serve(t, func(request string, reply func(string)) {
			came <- struct{}{}
			if !strings.Contains(request, "silence") {
				reply(request + " answered")
			}
		}).String(), with(o, patient))
		cancelled := make(chan error, 1)
		lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) {
			return reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
				ref := c.Ref()
				return len(in), a.Do(c.Context(), in, func(reply []byte, err error) {
					if err == nil {
						_, err = ref.Write(reply)
					}
					if err != nil {
						cancelled <- err
					}
				})
			}), nil
		}, nil)
		require.NoError(t, err)
		for i := range 8 {
			conn, err := net.Dial("tcp", lis.Addr().String())
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
			fmt.Fprintf(conn, "%d:hello", i)
			want := fmt.Sprintf("%d:hello answered", i)
			got := make([]byte, len(want))
			_, err = io.ReadFull(conn, got)
			require.NoError(t, err)
			require.Equal(t, want, string(got))
			receive(t, came)
			if i == 7 {
				fmt.Fprint(conn, "silence")
				receive(t, came)
				conn.Close()
				require.ErrorContains(t, receive(t, cancelled), " to 1 tries: ")
			}
		}
	})
}

// While many goroutines ask, the socket closes. What was taken is told, once.
func TestAsyncCloseWhileAsked(t *testing.T) {
	eachTelling(t, func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions) {
		o.MaxInFlight = 16
		a := async(t, r, serve(t, echo).String(), with(o, hasty))
		var mu sync.Mutex
		open, replies := 0, 0
		enough := make(chan struct{})
		count := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			open += n
		}
		var all sync.WaitGroup
		for g := range 8 {
			all.Go(func() {
				for i := 0; ; i++ {
					count(1)
					err := a.Do(t.Context(), fmt.Appendf(nil, "%d-%d:", g, i), func(_ []byte, err error) {
						count(-1)
						if err == nil {
							if replies++; replies == 100 { // on the loop
								close(enough)
							}
						}
					})
					if err == nil {
						continue
					}
					count(-1)
					if errors.Is(err, net.ErrClosed) {
						return
					}
					if !errors.Is(err, exchange.ErrInFlight) {
						t.Error(err)
						return
					}
					runtime.Gosched()
				}
			})
		}
		receive(t, enough)
		require.NoError(t, a.Close())
		all.Wait()
		eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return open == 0 })
		require.Zero(t, a.InFlight())
	})
}

// Whatever becomes of datagrams on their way, each request is told once, with its own reply or that there was none.
func TestAsyncRelay(t *testing.T) {
	const requests = 100
	brief := exchange.Backoff{First: 4 * time.Millisecond, Limit: 64 * time.Millisecond, Jitter: 0.5}
	for _, test := range []struct {
		name      string
		fate      relay.Fate
		backoff   exchange.Backoff
		allAnswer bool
	}{
		{"whole", relay.Fate{}, patient, true},
		{"doubled", relay.Fate{Doubled: 1}, patient, true},
		{"reordered", relay.Fate{Delayed: 1, Delay: 20 * time.Millisecond}, patient, true},
		{"lossy", relay.Fate{Lost: 0.1}, hasty, true},
		{"late", relay.Fate{Delayed: 1, Delay: 20 * time.Millisecond}, brief, false},
		{"everything", relay.Fate{Lost: 0.25, Doubled: 0.2, Delayed: 0.5, Delay: 20 * time.Millisecond}, brief, false},
		{"hopeless", relay.Fate{Lost: 1}, brief, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachTelling(t, func(t *testing.T, r *reactor.Reactor, o exchange.AsyncOptions) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				between := relay.New(t, serve(t, func(request string, reply func(string)) { reply(request + " answered") }).String(), test.fate, seed)
				o.MaxInFlight = 32 // that no buffer of the system is too small
				a := async(t, r, between.Addr(), with(o, test.backoff))
				answered, gaveUp := 0, 0
				next, all := 0, make(chan struct{})
				var one func()
				one = func() { // each asks for the next when it is told; on the loop
					if next == requests {
						if answered+gaveUp == requests {
							close(all)
						}
						return
					}
					request := fmt.Sprintf("%d:x", next)
					next++
					if err := a.Do(t.Context(), []byte(request), func(reply []byte, err error) {
						var none *exchange.NoReplyError
						switch {
						case err == nil && string(reply) == request+" answered":
							answered++
						case errors.As(err, &none) && none.Tries == 5:
							gaveUp++
						default:
							t.Errorf("%s: %q, %v", request, reply, err)
						}
						one()
					}); err != nil {
						t.Error(err)
					}
				}
				started := make(chan error, 1)
				require.NoError(t, a.Do(t.Context(), []byte("go:"), func([]byte, error) {
					for range o.MaxInFlight {
						one()
					}
					started <- nil
				}))
				receive(t, started)
				receive(t, all)
				stats := a.Stats()
				t.Logf("%+v, given up: %d", stats, gaveUp)
				require.EqualValues(t, requests+1, stats.Requests)
				require.GreaterOrEqual(t, int64(stats.Tries), between.Requests.Load())
				require.LessOrEqual(t, int64(stats.Replies+stats.Unmatched), between.Replies.Load())
				if test.allAnswer {
					require.Equal(t, requests, answered)
				}
				if test.fate.Lost == 1 {
					require.Equal(t, requests, gaveUp)
				}
				if test.fate.Doubled == 1 {
					eventually(t, func() bool { return a.Stats().Unmatched > requests })
				}
				require.Zero(t, a.InFlight())
			})
		})
	}
}

func TestAsyncOptions(t *testing.T) {
	r := idle(t, 1)
	for _, test := range []struct {
		options exchange.AsyncOptions
		want    string
	}{
		{exchange.AsyncOptions{MaxInFlight: -2}, "exchange: MaxInFlight is -2, must be -1 to 65536"},
		{exchange.AsyncOptions{Key: number, MaxInFlight: 65537}, "exchange: MaxInFlight is 65537, must be -1 to 65536"},
		{exchange.AsyncOptions{MaxInFlight: 2}, "exchange: MaxInFlight is 2, must be 1 without Match and Key"},
		{with(exchange.AsyncOptions{}, exchange.Backoff{First: -1}), "exchange: First is -1ns and Limit 0s, must not be negative"},
		{exchange.AsyncOptions{Socket: reactor.PacketOptions{MaxDatagram: -1}}, "MaxDatagram is -1, must be 0 to 65536"},
	} {
		_, err := exchange.New(r, "udp", "127.0.0.1:9", &test.options)
		require.ErrorContains(t, err, test.want)
	}
	_, err := exchange.New(r, "tcp", "127.0.0.1:9", nil)
	require.EqualError(t, err, "dial tcp 127.0.0.1:9: unknown network tcp")
	a, err := exchange.New(r, "udp", "127.0.0.1:9", nil)
	require.NoError(t, err)
	require.EqualError(t, a.Do(t.Context(), nil, nil), "exchange: Do without a function")
}
