// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/examples/internal/program"
	"github.com/quartet-go/quartet/internal/relay"
	"github.com/quartet-go/quartet/reactor/exchange"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

func startServer(t *testing.T) *program.Server {
	return program.Start(t, 1, program.Build(t, "../../servers"), "udp-reply", "-listen", "udp://127.0.0.1:0")
}

// run runs the client program and returns what it printed.
func run(t *testing.T, path string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errs.String(), exit.ExitCode()
	}
	require.NoError(t, err)
	return out.String(), errs.String(), 0
}

func TestProgram(t *testing.T) {
	client, server := program.Build(t, "."), startServer(t)

	// -limit is far away, for a slow machine.
	stdout, stderr, code := run(t, client, "-to", server.Addrs[0], "-limit", "20s", "hello", "", "how do you do")
	require.Equal(t, "The msg was 5 bytes long\nThe msg was 0 bytes long\nThe msg was 13 bytes long\n", stdout)
	require.Empty(t, stderr)
	require.Zero(t, code)

	seed := rand.Uint64()
	r := relay.New(t, server.Addrs[0], relay.Fate{Lost: 0.2, Doubled: 0.3, Delayed: 0.5, Delay: 10 * time.Millisecond}, seed)
	stdout, stderr, code = run(t, client, "-to", r.Addr(), "-first", "5ms", "-limit", "20s", "a", "bc", "def")
	require.Equal(t, "The msg was 1 bytes long\nThe msg was 2 bytes long\nThe msg was 3 bytes long\n", stdout, "seed %d", seed)
	require.Empty(t, stderr, "seed %d", seed)
	require.Zero(t, code, "seed %d", seed)
	server.Stop()
}

func TestProgramWithoutServer(t *testing.T) {
	client := program.Build(t, ".")

	// A port that is held, so that nobody else answers there, by a socket that receives and says nothing.
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	to := silent.LocalAddr().String()
	stdout, stderr, code := run(t, client, "-to", to, "-first", "1ms", "-limit", "16ms")
	require.Empty(t, stdout)
	require.Equal(t, "udpclient: exchange: no reply from "+to+" to 5 tries in 31ms: the server may be down\n", stderr)
	require.Equal(t, 1, code)

	// A second is enough for a first try on any machine.
	_, stderr, code = run(t, client, "-to", to, "-first", "20s", "-limit", "20s", "-timeout", "1s")
	require.Equal(t, "udpclient: exchange: no reply from "+to+" to 1 tries: context deadline exceeded\n", stderr)
	require.Equal(t, 1, code)

	for _, test := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"-to", "127.0.0.1"}, "missing port in address", 1},
		{[]string{"-first", "1h"}, "First is 1h0m0s, must not exceed Limit 2s", 1},
		{[]string{"-first", "soon"}, `invalid value "soon" for flag -first`, 2},
	} {
		_, stderr, code := run(t, client, test.args...)
		require.Contains(t, stderr, test.want)
		require.Equal(t, test.code, code)
	}
}

// Between client and server stands a relay that loses, delays, doubles and reorders. Every request is answered by its
// own reply or fails with the error that says so.
func TestRelay(t *testing.T) {
	const clients, each = 4, 50
	server := startServer(t)
	backoff := exchange.Backoff{First: 4 * time.Millisecond, Limit: 64 * time.Millisecond}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)

	var mu sync.Mutex
	var sum exchange.Stats
	var gaveUp uint64
	var all sync.WaitGroup
	for i := range clients {
		r := relay.New(t, server.Addrs[0], relay.Fate{Lost: 0.25, Doubled: 0.2, Delayed: 0.5, Delay: 20 * time.Millisecond}, seed+uint64(i))
		all.Go(func() {
			stats, failures, err := askThrough(t, r, backoff, each)
			if err != nil {
				t.Errorf("client %d: %v", i, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			sum.Requests += stats.Requests
			sum.Tries += stats.Tries
			sum.Replies += stats.Replies
			sum.Unmatched += stats.Unmatched
			gaveUp += failures
		})
	}
	all.Wait()
	t.Logf("%+v, given up: %d", sum, gaveUp)
	require.False(t, t.Failed())
	require.Equal(t, uint64(clients*each), sum.Requests)
	require.Equal(t, sum.Requests, sum.Replies+gaveUp)
	require.Positive(t, sum.Replies)
	require.Greater(t, sum.Tries, sum.Requests, "something was lost, so something was sent again")
	require.Positive(t, sum.Unmatched, "something came twice or late")
	server.Stop()
}

// askThrough asks through the relay with requests of different lengths and checks every reply.
func askThrough(t *testing.T, r *relay.Relay, b exchange.Backoff, requests int) (stats exchange.Stats, gaveUp uint64, err error) {
	c, err := exchange.Dial(t.Context(), "udp", r.Addr(), &exchange.Options{Backoff: b, Match: func(request, reply []byte) bool {
		return string(reply) == replyTo(request)
	}})
	if err != nil {
		return stats, 0, err
	}
	defer c.Close()
	for n := range requests {
		request := []byte(strings.Repeat("x", n))
		reply, err := c.Do(t.Context(), request)
		var none *exchange.NoReplyError
		switch {
		case errors.As(err, &none) && none.Tries == 5 && none.Waited == 124*time.Millisecond:
			gaveUp++
		case err != nil:
			return stats, gaveUp, err
		case string(reply) != replyTo(request):
			return stats, gaveUp, fmt.Errorf("request of %d bytes: %s", n, reply)
		}
	}
	stats = c.Stats()
	// What the client counted is what the relay saw, as soon as that has read it all, but for what a busy kernel drops
	// on the way: one in ten at most.
	for end := time.Now().Add(time.Second); r.Requests.Load() < int64(stats.Tries) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if passed := r.Requests.Load(); passed > int64(stats.Tries) || passed < int64(stats.Tries)*9/10 {
		return stats, gaveUp, fmt.Errorf("%d tries, of which %d reached the relay", stats.Tries, passed)
	}
	if passed := r.Replies.Load(); passed < int64(stats.Replies+stats.Unmatched) {
		return stats, gaveUp, fmt.Errorf("%+v, more than the %d datagrams that the relay sent", stats, passed)
	}
	return stats, gaveUp, nil
}

func replyTo(request []byte) string { return fmt.Sprintf("The msg was %d bytes long", len(request)) }
