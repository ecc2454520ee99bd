// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package exchange_test

import (
	"context"
	"math"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/reactor/exchange"
)

// waits are those of all tries.
func waits(b exchange.Backoff, r float64) (list []time.Duration) {
	for {
		wait, ok := b.Wait(len(list), r)
		if !ok {
			return list
		}
		list = append(list, wait)
	}
}

func TestBackoff(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name    string
		backoff exchange.Backoff
		r       float64
		want    []time.Duration
	}{
		{"the default", exchange.Backoff{}, 0, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms}},
		{"without jitter there is no chance", exchange.Backoff{}, 0.9, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms}},
		{"the limit may be reached", exchange.Backoff{First: 1, Limit: 4}, 0, []time.Duration{1, 2, 4}},
		{"but not passed", exchange.Backoff{First: 1, Limit: 7}, 0, []time.Duration{1, 2, 4}},
		{"one try", exchange.Backoff{First: 5 * ms, Limit: 5 * ms}, 0, []time.Duration{5 * ms}},
		{"a first wait alone", exchange.Backoff{First: 700 * ms}, 0, []time.Duration{700 * ms, 1400 * ms}},
		{"a limit alone", exchange.Backoff{Limit: 300 * ms}, 0, []time.Duration{100 * ms, 200 * ms}},
		{"jitter takes nothing", exchange.Backoff{First: 8, Limit: 16, Jitter: 0.5}, 0, []time.Duration{8, 16}},
		{"a half of it", exchange.Backoff{First: 8, Limit: 16, Jitter: 0.5}, 0.5, []time.Duration{6, 12}},
		{"all of it", exchange.Backoff{First: 8, Limit: 16, Jitter: 0.5}, 1, []time.Duration{4, 8}},
		{"invalid", exchange.Backoff{First: -1}, 0, nil},
	} {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, waits(test.backoff, test.r)) })
	}
	_, ok := exchange.Backoff{}.Wait(-1, 0)
	require.False(t, ok)
	require.Len(t, waits(exchange.Backoff{First: 1, Limit: math.MaxInt64}, 0), 63)
}

// Whatever is chosen: waits double, jitter only shortens them and at most by its part, and there is one more only as
// long as that does not pass the limit.
func TestBackoffProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := time.Duration(rapid.Int64Range(1, math.MaxInt64).Draw(t, "first"))
		limit := time.Duration(rapid.Int64Range(int64(first), math.MaxInt64).Draw(t, "limit"))
		b := exchange.Backoff{First: first, Limit: limit, Jitter: rapid.Float64Range(0, 0.5).Draw(t, "jitter")}
		whole := waits(b, 0)
		for i, wait := range whole {
			require.Equal(t, first<<i, wait)
			short, ok := b.Wait(i, rapid.Float64Range(0, 1).Draw(t, "r"))
			require.True(t, ok)
			require.LessOrEqual(t, short, wait)
			longest := float64(wait) * b.Jitter
			require.LessOrEqual(t, float64(wait-short), longest*(1+1e-9)+1) // a float64 has fewer bits than a Duration
		}
		last := whole[len(whole)-1]
		require.LessOrEqual(t, last, limit)
		require.Greater(t, uint64(last)*2, uint64(limit))
	})
}

func TestOptionsChecked(t *testing.T) {
	for _, test := range []struct {
		backoff exchange.Backoff
		want    string
	}{
		{exchange.Backoff{First: -1}, "exchange: First is -1ns and Limit 0s, must not be negative"},
		{exchange.Backoff{Limit: -1}, "exchange: First is 0s and Limit -1ns, must not be negative"},
		{exchange.Backoff{First: 3 * time.Second}, "exchange: First is 3s, must not exceed Limit 2s"},
		{exchange.Backoff{Limit: time.Millisecond}, "exchange: First is 100ms, must not exceed Limit 1ms"},
		{exchange.Backoff{Jitter: -0.1}, "exchange: Jitter is -0.1, must be 0 to 0.5"},
		{exchange.Backoff{Jitter: 0.6}, "exchange: Jitter is 0.6, must be 0 to 0.5"},
		{exchange.Backoff{Jitter: math.NaN()}, "exchange: Jitter is NaN, must be 0 to 0.5"},
	} {
		_, err := exchange.Dial(t.Context(), "udp", "127.0.0.1:9", &exchange.Options{Backoff: test.backoff})
		require.EqualError(t, err, test.want)
	}
}

// silent is a socket whose peer says nothing, in the time of a synctest bubble, which real sockets do not know.
type silent struct {
	net.Conn // of a net.Pipe, for its deadlines
	sent     []time.Time
}

func newSilent() *silent {
	conn, _ := net.Pipe()
	return &silent{Conn: conn}
}

func (s *silent) Write(p []byte) (int, error) {
	s.sent = append(s.sent, time.Now())
	return len(p), nil
}

func (s *silent) ReadFrom([]byte) (int, net.Addr, error) { panic("connected") }
func (s *silent) WriteTo([]byte, net.Addr) (int, error)  { panic("connected") }

// The promise of the default: asked at 0, 0.1, 0.3, 0.7 and 1.5 seconds, given up at 3.1.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, start := newSilent(), time.Now()
		c, err := exchange.NewClient(s, nil, nil)
		require.NoError(t, err)
		_, err = c.Do(t.Context(), []byte("hello"))
		var none *exchange.NoReplyError
		require.ErrorAs(t, err, &none)
		require.Equal(t, exchange.NoReplyError{Peer: s.RemoteAddr(), Tries: 5, Waited: 3100 * time.Millisecond}, *none)
		require.EqualError(t, err, "exchange: no reply from pipe to 5 tries in 3.1s: the server may be down")
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.True(t, os.IsTimeout(err))
		require.Equal(t, none.Waited, time.Since(start))
		var at []time.Duration
		for _, sent := range s.sent {
			at = append(at, sent.Sub(start))
		}
		const ms = time.Millisecond
		require.Equal(t, []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms}, at)
		require.Equal(t, exchange.Stats{Requests: 1, Tries: 5}, c.Stats())
	})
}

// With jitter the whole is shorter, and by no more than the jitter's part.
func TestPatienceWithJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := exchange.NewClient(newSilent(), nil, &exchange.Options{Backoff: exchange.Backoff{Jitter: 0.5}})
		require.NoError(t, err)
		taken := make(map[time.Duration]bool)
		for range 10 {
			start := time.Now()
			_, err = c.Do(t.Context(), nil)
			var none *exchange.NoReplyError
			require.ErrorAs(t, err, &none)
			require.Equal(t, time.Since(start), none.Waited)
			require.LessOrEqual(t, none.Waited, 3100*time.Millisecond)
			require.GreaterOrEqual(t, none.Waited, 1550*time.Millisecond-5)
			taken[none.Waited] = true
		}
		require.Greater(t, len(taken), 1)
	})
}

// A context ends the wait when it ends, in the middle of a try.
func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, start := newSilent(), time.Now()
		c, err := exchange.NewClient(s, nil, nil)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Do(ctx, nil)
		require.EqualError(t, err, "exchange: no reply from pipe to 4 tries: context deadline exceeded")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
	})
}
