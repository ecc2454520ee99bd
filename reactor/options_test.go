// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"math"
	"net"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/stretchr/testify/require"
)

// Each wrong option is told by name, with what it is and what it may be.
func TestOptions(t *testing.T) {
	rows := []struct {
		options reactor.Options
		want    string // "" for accepted
	}{
		{reactor.Options{}, ""},
		{reactor.Options{Loops: 1, MaxConns: -1, MaxBuffered: -1, DrainTimeout: -1}, ""},
		{reactor.Options{Loops: 1, MaxConns: 1, MaxBuffered: 1, DrainTimeout: 1, MailboxLimit: 1}, ""},
		{reactor.Options{Loops: -1}, "reactor: Loops is -1, must be 0 to 1024"},
		{reactor.Options{Loops: 1025}, "reactor: Loops is 1025, must be 0 to 1024"},
		{reactor.Options{MaxConns: -2}, "reactor: MaxConns is -2, must be positive, 0 for the default or -1 for none"},
		{reactor.Options{MaxDials: -2}, "reactor: MaxDials is -2, must be positive, 0 for the default or -1 for none"},
		{reactor.Options{MaxBuffered: -2}, "reactor: MaxBuffered is -2, must be positive, 0 for the default or -1 for none"},
		{reactor.Options{MailboxLimit: -1}, "reactor: MailboxLimit is -1, must not be negative"},
		{reactor.Options{DrainTimeout: -2}, "reactor: DrainTimeout is -2ns, must be positive, 0 for the default or -1 for none"},
		{reactor.Options{DrainTimeout: -time.Second}, "reactor: DrainTimeout is -1s, must be positive, 0 for the default or -1 for none"},
	}
	for _, row := range rows {
		r, err := reactor.New(row.options)
		if row.want != "" {
			require.EqualError(t, err, row.want)
			require.Nil(t, r)
			continue
		}
		require.NoError(t, err)
		require.NoError(t, r.Close())
	}
}

func TestStreamOptions(t *testing.T) {
	const none = ", must be positive, 0 for the default or -1 for none"
	rows := []struct {
		options *reactor.StreamOptions
		want    string
	}{
		{nil, ""},
		{&reactor.StreamOptions{}, ""},
		{&reactor.StreamOptions{Backlog: 1, HighWater: 1, LowWater: 1, MaxOutput: 1, MaxInput: 1, KeepAliveCount: 1}, ""},
		{&reactor.StreamOptions{MaxOutput: -1, MaxInput: -1, IdleTimeout: -1, FirstByteTimeout: -1, FrameTimeout: -1, WriteTimeout: -1, KeepAliveIdle: -1}, ""},
		{&reactor.StreamOptions{HighWater: 1 << 30, MaxOutput: -1}, ""},
		{&reactor.StreamOptions{Nagle: true, KeepAliveIdle: time.Millisecond, KeepAliveInterval: 90 * time.Minute}, ""},
		{&reactor.StreamOptions{MaxPerPeer: -1, AcceptRate: -1}, ""},
		{&reactor.StreamOptions{MaxPerPeer: 1, AcceptRate: 1e9, AcceptBurst: 1e9}, ""},
		{&reactor.StreamOptions{MaxPerPeer: -2}, "reactor: MaxPerPeer is -2" + none},
		{&reactor.StreamOptions{AcceptRate: -2}, "reactor: AcceptRate is -2" + none},
		{&reactor.StreamOptions{AcceptRate: 1e9 + 1}, "reactor: AcceptRate is 1000000001, must be 0 to 1000000000"},
		{&reactor.StreamOptions{AcceptRate: 5, AcceptBurst: -1}, "reactor: AcceptBurst is -1, must be 0 to 1000000000"},
		{&reactor.StreamOptions{AcceptBurst: 5}, "reactor: AcceptBurst is 5, needs an AcceptRate"},
		{&reactor.StreamOptions{UserTimeout: -1, DeferAccept: -1, RecvBuffer: 1, SendBuffer: 1}, ""},
		{&reactor.StreamOptions{UserTimeout: -2}, "reactor: UserTimeout is -2ns" + none},
		{&reactor.StreamOptions{UserTimeout: 577 * time.Hour}, "reactor: UserTimeout is 577h0m0s, must be 0 to 576h0m0s"},
		{&reactor.StreamOptions{DeferAccept: -2}, "reactor: DeferAccept is -2ns" + none},
		{&reactor.StreamOptions{DeferAccept: 2 * time.Hour}, "reactor: DeferAccept is 2h0m0s, must be 0 to 1h0m0s"},
		{&reactor.StreamOptions{RecvBuffer: -1}, "reactor: RecvBuffer is -1, must be 0 to 1073741824"},
		{&reactor.StreamOptions{SendBuffer: 1<<30 + 1}, "reactor: SendBuffer is 1073741825, must be 0 to 1073741824"},
		{&reactor.StreamOptions{FastOpen: -1}, "reactor: FastOpen is -1, must be 0 to 65536"},
		{&reactor.StreamOptions{FastOpen: 65537}, "reactor: FastOpen is 65537, must be 0 to 65536"},
		{&reactor.StreamOptions{BindToDevice: "sixteen-letters!"}, `reactor: BindToDevice is "sixteen-letters!", must be at most 15 bytes`},
		{&reactor.StreamOptions{Backlog: -1}, "reactor: Backlog is -1, must not be negative"},
		{&reactor.StreamOptions{HighWater: -1}, "reactor: HighWater is -1 and LowWater 0, must not be negative"},
		{&reactor.StreamOptions{LowWater: -1}, "reactor: HighWater is 0 and LowWater -1, must not be negative"},
		{&reactor.StreamOptions{LowWater: 65537}, "reactor: LowWater is 65537, must not exceed HighWater 65536"},
		{&reactor.StreamOptions{HighWater: 10, LowWater: 11}, "reactor: LowWater is 11, must not exceed HighWater 10"},
		{&reactor.StreamOptions{HighWater: 17 << 20}, "reactor: HighWater is 17825792, must not exceed MaxOutput 16777216"},
		{&reactor.StreamOptions{MaxOutput: 65535}, "reactor: HighWater is 65536, must not exceed MaxOutput 65535"},
		{&reactor.StreamOptions{MaxOutput: -2}, "reactor: MaxOutput is -2" + none},
		{&reactor.StreamOptions{MaxInput: -2}, "reactor: MaxInput is -2" + none},
		{&reactor.StreamOptions{IdleTimeout: -2}, "reactor: IdleTimeout is -2ns" + none},
		{&reactor.StreamOptions{FirstByteTimeout: -2}, "reactor: FirstByteTimeout is -2ns" + none},
		{&reactor.StreamOptions{FrameTimeout: -time.Second}, "reactor: FrameTimeout is -1s" + none},
		{&reactor.StreamOptions{WriteTimeout: math.MinInt64}, "reactor: WriteTimeout is -2562047h47m16.854775808s" + none},
		{&reactor.StreamOptions{KeepAliveIdle: -time.Minute}, "reactor: KeepAliveIdle is -1m0s" + none},
		{&reactor.StreamOptions{KeepAliveInterval: -1}, "reactor: KeepAliveInterval is -1ns, must be 0 to 9h6m7s"},
		{&reactor.StreamOptions{KeepAliveCount: -1}, "reactor: KeepAliveCount is -1, must be 0 to 127"},
		{&reactor.StreamOptions{KeepAliveIdle: 32767 * time.Second, KeepAliveInterval: 32767 * time.Second, KeepAliveCount: 127}, ""},
		{&reactor.StreamOptions{KeepAliveIdle: 32767*time.Second + 1}, "reactor: KeepAliveIdle is 9h6m7.000000001s, must be 0 to 9h6m7s"},
		{&reactor.StreamOptions{KeepAliveInterval: math.MaxInt64}, "reactor: KeepAliveInterval is 2562047h47m16.854775807s, must be 0 to 9h6m7s"},
		{&reactor.StreamOptions{KeepAliveCount: 128}, "reactor: KeepAliveCount is 128, must be 0 to 127"},
		{&reactor.StreamOptions{ReusePort: true}, ""},
	}
	s := start(t, reactor.Options{Loops: 1})
	for _, row := range rows {
		lis, err := s.Listen("tcp", "127.0.0.1:0", shared(&hooks{}), row.options)
		if row.want != "" {
			require.EqualError(t, err, row.want)
			require.Nil(t, lis)
			continue
		}
		require.NoError(t, err, "%+v", row.options)
		cl := dialTo(t, lis.Addr())
		require.NoError(t, cl.CloseWrite())
		cl.expectEOF()
		require.NoError(t, lis.Close())
	}
}

// The caller's options are not written to, and not looked at again.
func TestOptionsBelongToTheCaller(t *testing.T) {
	o := &reactor.StreamOptions{HighWater: 100}
	s := transport{"tcp", 1}.serve(t, shared(reactor.DataFunc(echo)), o)
	require.Equal(t, &reactor.StreamOptions{HighWater: 100}, o)
	*o = reactor.StreamOptions{HighWater: -5, MaxInput: -5}
	cl := s.dial()
	cl.send("x")
	cl.expect("x")
}

// A reactor that never served gives everything back at Close, and refuses what comes then.
func TestReactorThatNeverServed(t *testing.T) {
	r, err := reactor.New(reactor.Options{Loops: 2})
	require.NoError(t, err)
	lis, err := r.Listen("tcp", "127.0.0.1:0", shared(&hooks{}), nil)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	require.NoError(t, r.Shutdown(t.Context()))
	require.ErrorIs(t, r.Serve(context.Background()), net.ErrClosed)
	_, err = net.Dial("tcp", lis.Addr().String())
	require.Error(t, err)
	require.NoError(t, lis.Close())
}

// Serving twice is a mistake that is told.
func TestServeTwice(t *testing.T) {
	s := transport{"tcp", 1}.serve(t, shared(reactor.DataFunc(echo)), nil)
	eventually(t, "the first Serve", func() bool {
		cl := s.dial()
		cl.send("x")
		cl.expect("x")
		return true
	})
	require.ErrorIs(t, s.Serve(t.Context()), reactor.ErrServing)
}
