// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package offload_test

import (
	"context"
	"testing"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/offload"
	"github.com/stretchr/testify/require"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		o    offload.Options
		want string
	}{
		{offload.Options{Workers: -1}, "offload: Workers is -1, must be 0 to 1048576"},
		{offload.Options{Workers: 1 << 21}, "offload: Workers is 2097152, must be 0 to 1048576"},
		{offload.Options{Queue: -1}, "offload: Queue is -1, must be 0 to 65536"},
		{offload.Options{Queue: 1 << 17}, "offload: Queue is 131072, must be 0 to 65536"},
		{offload.Options{Parallel: -1}, "offload: Parallel is -1, must be 0 to Queue, which is 16"},
		{offload.Options{Queue: 3, Parallel: 4}, "offload: Parallel is 4, must be 0 to Queue, which is 3"},
		{offload.Options{QueueBytes: -2}, "offload: QueueBytes is -2, must be positive, 0 for the default or -1 for none"},
		{offload.Options{MaxBuffered: -2}, "offload: MaxBuffered is -2, must be positive, 0 for the default or -1 for none"},
	}
	for _, test := range tests {
		_, err := offload.New(test.o)
		require.EqualError(t, err, test.want)
	}
	for _, o := range []offload.Options{{}, {Workers: 1, Queue: 1, QueueBytes: -1, MaxBuffered: -1}} {
		p, err := offload.New(o)
		require.NoError(t, err)
		require.NoError(t, p.Close(context.Background()))
	}
}

// Close waits for what was given, takes no more, and closes the connections that come with more.
func TestPoolCloseWaits(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.start(t, offload.Options{Workers: 1})
		free, begun := make(chan struct{}), make(chan struct{}, 10)
		a := s.serve(func(_ context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
			begun <- struct{}{}
			<-free
			return line, nil
		})
		cl, late := dial(t, a), dial(t, a)
		cl.send("one\ntwo\n")
		receive(t, begun)
		eventually(t, "all was given", func() bool { return s.pool.Outstanding() == 2 })
		closed := make(chan error, 1)
		go func() { closed <- s.pool.Close(context.Background()) }()
		eventually(t, "Close begins", s.pool.Closed)
		late.send("three\n")
		require.Empty(t, late.rest())
		require.Equal(t, offload.ErrPoolClosed, receive(t, s.ends))
		require.Empty(t, closed)
		close(free)
		cl.expect("one\ntwo\n")
		require.NoError(t, receive(t, closed))
		require.NoError(t, s.pool.Close(context.Background()))
	})
}

// At the end of its context Close has the contexts of what runs done and drops the rest, whose connections close.
func TestPoolCloseLosesPatience(t *testing.T) {
	t.Parallel()
	forEachTransport(t, func(t *testing.T, tr transport) {
		s := tr.start(t, offload.Options{})
		begun, causes := make(chan struct{}, 10), make(chan error, 10)
		a := s.serve(func(ctx context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
			begun <- struct{}{}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return line, nil
		})
		cl := dial(t, a)
		cl.send("one\ntwo\nthree\n")
		receive(t, begun)
		eventually(t, "all was given", func() bool { return s.pool.Outstanding() == 3 })
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		require.EqualError(t, s.pool.Close(ctx), "offload: 3 pieces of work abandoned, 1 of them running: context canceled")
		require.Equal(t, offload.ErrPoolClosed, receive(t, causes))
		require.Equal(t, "one\n", cl.rest())
		require.Equal(t, offload.ErrPoolClosed, receive(t, s.ends))
	})
}

// Work that does not heed its context is not waited for for ever, but named.
func TestPoolCloseNamesWhatIsStuck(t *testing.T) {
	t.Parallel()
	s := transport{"tcp", 1}.start(t, offload.Options{})
	free, begun := make(chan struct{}), make(chan struct{}, 1)
	dial(t, s.serve(func(context.Context, reactor.Ref, []byte) ([]byte, error) {
		begun <- struct{}{}
		<-free
		return nil, nil
	})).send("x\n")
	receive(t, begun)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.EqualError(t, s.pool.Close(ctx), "offload: 1 pieces of work do not end: offload: pool closed")
	close(free)
}
