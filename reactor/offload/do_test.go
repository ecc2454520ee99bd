// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package offload_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/offload"
	"github.com/stretchr/testify/require"
)

// digits is a Handler whose Data gives work for each byte, until the queue is full, and answers with what came of it.
type digits struct {
	reactor.Base
	s    *server
	work func(ctx context.Context, b byte) (int, error)
	then func(c *reactor.Conn, v int, err error)
}

func (h *digits) Data(c *reactor.Conn, in []byte) (int, error) {
	for i, b := range in {
		err := offload.Do(h.s.pool, c, func(ctx context.Context) (int, error) { return h.work(ctx, b) }, h.then)
		if errors.Is(err, offload.ErrQueueFull) {
			return i, nil
		}
		if err != nil {
			return i, err
		}
	}
	return len(in), nil
}

func (h *digits) Close(_ *reactor.Conn, err error) { h.s.ends <- err }

// answer writes what work returned.
func answer(c *reactor.Conn, v int, err error) {
	_, _ = fmt.Fprintf(c, "%d %v\n", v, err)
}

// then runs on the loop, in order, with what work returned; what did not fit into the queue comes again.
func TestDo(t *testing.T) {
	t.Parallel()
	errOdd := errors.New("odd")
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.start(t, offload.Options{Queue: 3, Parallel: 3})
		a := s.listen(&digits{s: s, then: answer, work: func(_ context.Context, b byte) (int, error) {
			v := int(b - '0')
			if v%2 == 1 {
				return v, errOdd
			}
			return v, nil
		}})
		cl := dial(t, a)
		cl.send("0123456789")
		for v := range 10 {
			want := fmt.Sprintf("%d <nil>\n", v)
			if v%2 == 1 {
				want = fmt.Sprintf("%d odd\n", v)
			}
			cl.expect(want)
		}
	})
}

// then is called exactly once for each piece of work, also when the connection closes first, when work panics and when
// then itself does.
func TestThenIsCalledOnce(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		for _, how := range []string{"close", "panic in work", "panic in then", "panics in then after the end"} {
			s := tr.start(t, offload.Options{Queue: 5, Workers: 1})
			begun := make(chan struct{}, 5)
			free := make(chan struct{})
			told := make(chan error, 10)
			a := s.listen(&digits{s: s,
				work: func(_ context.Context, b byte) (int, error) {
					begun <- struct{}{}
					<-free
					if how == "panic in work" && b == '1' {
						panic(how)
					}
					return int(b - '0'), nil
				},
				then: func(_ *reactor.Conn, v int, err error) {
					told <- err
					if how == "panic in then" && v == 1 || how == "panics in then after the end" {
						panic(how)
					}
				}})
			cl := dial(t, a)
			cl.send("01234")
			receive(t, begun)
			ref := receive(t, s.refs)
			var want [5]error
			for i := range want {
				want[i] = net.ErrClosed
			}
			switch how {
			case "close", "panics in then after the end":
				eventually(t, "all of it was given", func() bool { return s.pool.Outstanding() == 5 })
				require.NoError(t, ref.Do(func(c *reactor.Conn, _ error) { c.Abort() }))
				require.ErrorIs(t, receive(t, s.ends), reactor.ErrAborted, how)
			default:
				want[0] = nil
				if how == "panic in then" {
					want[1] = nil
				}
			}
			close(free)
			for i := range want {
				err := receive(t, told)
				var crash *reactor.PanicError
				if how == "panic in work" && i == 1 {
					require.ErrorAs(t, err, &crash)
				} else {
					require.ErrorIs(t, err, want[i], "%s, %d", how, i)
				}
			}
			if len(s.ends) > 0 || want[0] == nil {
				var crash *reactor.PanicError
				require.ErrorAs(t, receive(t, s.ends), &crash, how)
			}
			eventually(t, "the queue is gone", func() bool { return s.pool.Queues() == 0 })
			require.Empty(t, told, how)
		}
	})
}

// What the handler paused stays paused when its queue has room again.
func TestPauseIsTheHandlers(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.start(t, offload.Options{Queue: 1})
		free := make(chan struct{})
		done := make(chan struct{}, 10)
		a := s.listen(&digits{s: s, work: func(context.Context, byte) (int, error) {
			<-free
			return 0, nil
		}, then: func(c *reactor.Conn, v int, err error) {
			answer(c, v, err)
			done <- struct{}{}
		}})
		cl := dial(t, a)
		cl.send("01")
		ref := receive(t, s.refs)
		eventually(t, "the queue is full", func() bool { return s.pool.Outstanding() == 1 })
		require.NoError(t, ref.Do(func(c *reactor.Conn, _ error) { c.Pause() }))
		close(free)
		receive(t, done)
		for range 3 { // turns
			turn := make(chan struct{})
			require.NoError(t, ref.Do(func(*reactor.Conn, error) { close(turn) }))
			receive(t, turn)
		}
		require.Empty(t, done)
		require.NoError(t, ref.Do(func(c *reactor.Conn, _ error) { c.Resume() }))
		receive(t, done)
		cl.expect("0 <nil>\n0 <nil>\n")
	})
}

// Do answers net.ErrClosed for a connection that has closed.
func TestDoAfterTheEnd(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.start(t, offload.Options{})
		work := func(context.Context) (int, error) {
			t.Error("work was done")
			return 0, nil
		}
		s.listen(&digits{s: s})
		a := s.listen(&digits{s: s})
		cl := dial(t, a)
		ref := receive(t, s.refs)
		_ = cl.Close()
		require.Error(t, receive(t, s.ends))
		told := make(chan error, 2)
		require.NoError(t, ref.Do(func(c *reactor.Conn, _ error) {
			told <- offload.Do(s.pool, c, work, nil)
			told <- offload.Do[int](s.pool, c, nil, nil)
		}))
		require.Equal(t, net.ErrClosed, receive(t, told))
		require.ErrorContains(t, receive(t, told), "without work")
	})
}
