// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import (
	"context"
	"time"

	"github.com/quartet-go/quartet/bench/load"
	"github.com/quartet-go/quartet/bench/process"
	"github.com/quartet-go/quartet/bench/record"
)

// A meter reads the accounts of the server at the borders of a window.
type meter struct {
	test       *test
	begin, end process.Usage
	counter    *process.SyscallCounter
	calls      *int64
}

func (t *test) meter() *meter { return &meter{test: t} }

// The stretch in which system calls are counted is a share of the round within these bounds. Nothing is in flight when it
// begins and when it ends, so the calls and the messages belong together.
const (
	countShare = 8
	leastCount = 30 * time.Millisecond
	mostCount  = 250 * time.Millisecond
)

// window returns the window of a round with the meter's functions in it.
func (m *meter) window(ctx context.Context) *load.Window {
	t := m.test
	w := &load.Window{
		Stop:       ctx.Done(),
		Warmup:     t.Warmup,
		Duration:   t.Duration,
		Begin:      func() { m.begin = t.running.Usage() },
		End:        func() { m.end = t.running.Usage() },
		CountBegin: func() { m.counter = t.running.CountSyscalls() },
		CountEnd: func() {
			if m.counter != nil {
				m.calls = m.counter.Count()
			}
		},
	}
	if _, ok := process.SyscallsHow(); ok {
		w.Count = min(max(t.Duration/countShare, leastCount), mostCount)
	}
	return w
}

// fewestCounted is how many messages a stretch needs for system calls to be divided by them.
const fewestCounted = 20

// round makes the record.
func (m *meter) round(r *load.Result) record.Round {
	if m.counter != nil {
		m.counter.Close()
	}
	out := record.Round{
		Messages: r.Messages, Seconds: r.Seconds, Errors: r.Errors, Mismatches: r.Mismatches, Failures: r.Failures,
		Latency: r.Percentiles(), Spectrum: r.Spectrum(), GeneratorBusy: &r.Busy,
	}
	if r.Seconds > 0 {
		out.MessagesPerSecond = over(float64(r.Messages), r.Seconds)
	}
	if r.Late.TotalCount() > 0 {
		late := r.Late.ValueAtQuantile(99)
		out.GeneratorLate = &late
	}
	if m.calls != nil && r.Counted >= fewestCounted {
		out.Syscalls = over(float64(*m.calls), float64(r.Counted))
	}
	m.usage(&out)
	return out
}

// usage fills in what the server's accounts say about the time between begin and end.
func (m *meter) usage(out *record.Round) {
	messages := float64(out.Messages)
	if cpu := used(m.begin.CPU, m.end.CPU); cpu != nil {
		out.CPU = over(*cpu, messages)
		out.Cores = over(*cpu, out.Seconds*1e9)
		// The kernel's division into user and system time is coarse, and none where it saw but one of them; the sum is not.
		if u, s := used(m.begin.User, m.end.User), used(m.begin.System, m.end.System); u != nil && s != nil && min(*u, *s) > 0 {
			out.UserCPU = over(*cpu**u/(*u+*s), messages)
			out.SystemCPU = over(*cpu**s/(*u+*s), messages)
		}
	}
	if m.begin.Switches != nil && m.end.Switches != nil {
		out.Switches = over(float64(*m.end.Switches-*m.begin.Switches), messages)
	}
	out.RSS = m.end.RSS
	out.RSSPerConn = m.test.perConnection(m.end.RSS)
}

// fewestConns is how many connections it takes for the growth of memory to be theirs.
const fewestConns = 100

// perConnection divides the growth of memory since the server's start by the connections.
func (t *test) perConnection(rss *int64) *float64 {
	if t.rss == nil || rss == nil || t.Conns < fewestConns || *rss <= *t.rss {
		return nil
	}
	return over(float64(*rss-*t.rss), float64(t.Conns))
}

func used(before, after *time.Duration) *float64 {
	if before == nil || after == nil {
		return nil
	}
	d := float64(*after - *before)
	return &d
}

// over divides, and knows no answer where nothing was.
func over(a, b float64) *float64 {
	if b <= 0 {
		return nil
	}
	q := a / b
	return &q
}
