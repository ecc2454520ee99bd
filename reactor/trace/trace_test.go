// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package trace_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/trace"
	"github.com/stretchr/testify/require"
)

const patience = 20 * time.Second

// recorded returns the events of a reactor of two loops that answered lines on some connections.
func recorded(t *testing.T, conns int) []reactor.TraceEvent {
	t.Helper()
	r, err := reactor.New(reactor.Options{Loops: 2})
	require.NoError(t, err)
	tr, err := r.Trace(reactor.TraceOptions{})
	require.NoError(t, err)
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) {
		return reactor.Frames(codec.Line(0), reactor.FrameFunc(func(c *reactor.Conn, line []byte) error {
			_, err := c.Write(line)
			return err
		})), nil
	}, nil)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx) }()
	open := make([]net.Conn, conns)
	for i := range open {
		open[i], err = net.Dial("tcp", lis.Addr().String())
		require.NoError(t, err)
		require.NoError(t, open[i].SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(open[i], "hello\n"+strings.Repeat("x", i))
		require.NoError(t, err)
		_, err = io.ReadFull(open[i], make([]byte, 5))
		require.NoError(t, err)
	}
	for _, c := range open {
		require.NoError(t, c.(*net.TCPConn).CloseWrite())
		_, err = io.ReadAll(c)
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	stop()
	require.NoError(t, <-ended)
	tr.Stop()
	events, lost := tr.Events()
	require.Zero(t, lost)
	return events
}

// entry is an event of the format, as a reader of it sees it.
type entry struct {
	Name string
	Cat  string
	Ph   string
	TS   *float64
	Dur  float64
	PID  *int
	TID  *int
	ID   uint64
	S    string
	BP   string
	Args map[string]any
}

// What is written is valid by the trace event format: all fields that a phase needs, slices that nest, arrows with two
// ends that lie in slices.
func TestChrome(t *testing.T) {
	const conns = 7
	events := recorded(t, conns)
	var text bytes.Buffer
	require.NoError(t, trace.Chrome(&text, events))
	var file struct {
		DisplayTimeUnit string
		TraceEvents     []entry
	}
	d := json.NewDecoder(&text)
	require.NoError(t, d.Decode(&file))
	require.Equal(t, "ns", file.DisplayTimeUnit)

	ns := func(us float64) int64 { return int64(us*1e3 + 0.5) }
	threads := map[int]string{}
	slicesOf := map[int][]entry{} // by thread
	arrows := map[uint64][]entry{}
	for _, e := range file.TraceEvents {
		require.NotEmpty(t, e.Name)
		require.NotNil(t, e.PID)
		require.NotNil(t, e.TID)
		require.NotNil(t, e.TS)
		require.GreaterOrEqual(t, *e.TS, 0.0)
		switch e.Ph {
		case "M":
			if e.Name == "thread_name" {
				require.NotContains(t, threads, *e.TID)
				threads[*e.TID] = e.Args["name"].(string)
			}
		case "X":
			require.Positive(t, e.Dur)
			slicesOf[*e.TID] = append(slicesOf[*e.TID], e)
		case "i":
			require.Equal(t, "t", e.S)
			require.NotEmpty(t, e.Args["what"])
		case "s", "t", "f":
			require.NotZero(t, e.ID)
			arrows[e.ID] = append(arrows[e.ID], e)
		default:
			require.Fail(t, "unknown phase "+e.Ph)
		}
	}
	require.Equal(t, map[int]string{1: "loop 0", 2: "loop 1"}, threads)

	for tid, list := range slicesOf {
		require.Contains(t, threads, tid)
		var around []int64 // where the slices around end
		for _, e := range list {
			start, end := ns(*e.TS), ns(*e.TS+e.Dur)
			around = slices.DeleteFunc(around, func(until int64) bool { return until <= start })
			for _, until := range around {
				require.LessOrEqual(t, end, until+1, "%s begins inside a slice and ends after it", e.Name)
			}
			around = append(around, end)
		}
	}

	require.Len(t, arrows, conns, "an arrow for each connection")
	for id, list := range arrows {
		require.GreaterOrEqual(t, len(list), 2, id)
		require.Equal(t, "s", list[0].Ph)
		require.Equal(t, "f", list[len(list)-1].Ph)
		require.Equal(t, "e", list[len(list)-1].BP)
		for i, e := range list {
			if i > 0 && i < len(list)-1 {
				require.Equal(t, "t", e.Ph)
			}
			require.Equal(t, list[0].Name, e.Name)
			require.Equal(t, list[0].Cat, e.Cat)
			require.True(t, slices.ContainsFunc(slicesOf[*e.TID], func(s entry) bool {
				return *s.TS <= *e.TS && *e.TS <= *s.TS+s.Dur
			}), "the arrow of %d ends outside of all slices", id)
		}
	}
}

// Connections whose begin was overwritten have no arrow, and nothing is an empty trace.
func TestChromeOfAPart(t *testing.T) {
	events := recorded(t, 3)
	i := slices.IndexFunc(events, func(e reactor.TraceEvent) bool { return e.Kind == reactor.TraceClose })
	for _, part := range [][]reactor.TraceEvent{events[i : i+1], nil} {
		var text bytes.Buffer
		require.NoError(t, trace.Chrome(&text, part))
		var file struct{ TraceEvents []entry }
		require.NoError(t, json.Unmarshal(text.Bytes(), &file))
		for _, e := range file.TraceEvents {
			require.NotContains(t, []string{"s", "t", "f"}, e.Ph)
		}
	}
}

// A story is a line for each event, in which a connection can be followed.
func TestStory(t *testing.T) {
	events := recorded(t, 2)
	var text strings.Builder
	require.NoError(t, trace.Story(&text, events))
	require.Equal(t, len(events), strings.Count(text.String(), "\n"))
	for line := range strings.Lines(text.String()) {
		require.Regexp(t, `^ *\d+\.\d{6}  loop [01]  +\S.*\n$`, line)
	}
	i := slices.IndexFunc(events, func(e reactor.TraceEvent) bool { return e.Kind == reactor.TraceRead })
	who := regexp.QuoteMeta(events[i].Tuple.String())
	require.Regexp(t, `(?s)opened, \S+  \[`+who+` .*    read 6 bytes, with room for \d+  \[`+who+` .*    wrote 5 of 5 bytes  \[`+who+` .*closed: peer, \S+  \[`+who, text.String())
}

// The busiest connections are those that moved most.
func TestBusiest(t *testing.T) {
	var flows trace.Flows
	require.Empty(t, flows.Busiest(3))
	flows.Add(recorded(t, 5))
	busiest := flows.Busiest(3)
	require.Len(t, busiest, 3)
	for i, f := range busiest {
		require.EqualValues(t, 6+4-i, f.Received)
		require.EqualValues(t, 5, f.Sent)
		require.NotZero(t, f.Conn)
		require.True(t, f.Tuple.Remote.IsValid())
	}
	require.Len(t, flows.Busiest(100), 5)
}
