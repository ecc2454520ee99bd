// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package metrics_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/metrics"
	"github.com/stretchr/testify/require"
)

// served returns the registry of a reactor that has served lines and datagrams, so that every metric has a value.
func served(t *testing.T) (*prometheus.Registry, *reactor.Listener) {
	t.Helper()
	r, err := reactor.New(reactor.Options{Loops: 2, Measure: true})
	require.NoError(t, err)
	lines, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) {
		return reactor.Frames(codec.Line(0), reactor.FrameFunc(func(c *reactor.Conn, line []byte) error {
			_, err := c.Write(line)
			return err
		})), nil
	}, nil)
	require.NoError(t, err)
	datagrams, err := r.ListenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
		_ = d.Reply(d.Payload)
	}), nil)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})

	conn, err := net.Dial("tcp", lines.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, "one\ntwo\n")
	require.NoError(t, err)
	_, err = io.ReadFull(conn, make([]byte, 6))
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	_, err = io.ReadAll(conn)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	conn, err = net.Dial("udp", datagrams.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, "ping")
	require.NoError(t, err)
	_, err = io.ReadAtLeast(conn, make([]byte, 8), 4)
	require.NoError(t, err)
	require.NoError(t, conn.Close())

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.New(r))
	return registry, lines
}

// gather returns what a scrape would get, by name.
func gather(t *testing.T, registry *prometheus.Registry) map[string]*dto.MetricFamily {
	t.Helper()
	list, err := registry.Gather()
	require.NoError(t, err)
	families := map[string]*dto.MetricFamily{}
	for _, f := range list {
		families[f.GetName()] = f
	}
	return families
}

// sum adds the values of all series of a counter or gauge that have the labels, given as "name=value".
func sum(f *dto.MetricFamily, labels ...string) (total float64) {
	for _, m := range f.GetMetric() {
		var has []string
		for _, l := range m.GetLabel() {
			has = append(has, l.GetName()+"="+l.GetValue())
		}
		if !slices.ContainsFunc(labels, func(want string) bool { return !slices.Contains(has, want) }) {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}

// The values are those of the traffic.
func TestValues(t *testing.T) {
	registry, lines := served(t)
	var f map[string]*dto.MetricFamily
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) { // the last close may take a moment
		f = gather(t, registry)
		if sum(f["quartet_connections_closed_total"], "reason=peer") == 1 && sum(f["quartet_datagrams_sent_total"]) == 1 || time.Now().After(end) {
			break
		}
	}
	listener := "listener=tcp " + lines.Addr().String()
	for name, want := range map[string]float64{
		"quartet_receive_bytes_total":       8,
		"quartet_transmit_bytes_total":      6,
		"quartet_connections_opened_total":  1,
		"quartet_connections_active":        0,
		"quartet_connections_refused_total": 0,
		"quartet_connections_closed_total":  1,
		"quartet_read_pauses_total":         0,
		"quartet_write_buffer_bytes":        0,
		"quartet_loop_stuck":                0,
		"quartet_datagrams_received_total":  1,
		"quartet_datagrams_sent_total":      1,
	} {
		require.Contains(t, f, name)
		require.Equal(t, want, sum(f[name]), name)
	}
	require.EqualValues(t, 1, sum(f["quartet_listener_accepts_total"], listener))
	require.EqualValues(t, 2, sum(f["quartet_frames_total"], "codec=line"))
	require.Zero(t, sum(f["quartet_frame_errors_total"], "codec=line"))
	require.Len(t, f["quartet_loop_events_total"].GetMetric(), 2, "a series for each loop")
	require.NotZero(t, sum(f["quartet_loop_events_total"]))
	require.NotZero(t, sum(f["quartet_loop_busy_seconds_total"]))
	h := f["quartet_loop_event_seconds"].GetMetric()[0].GetHistogram()
	require.NotZero(t, h.GetSampleCount())
	require.Equal(t, 1e-6, h.GetBucket()[0].GetUpperBound())
}

// Listeners that share an address are one series, and a path need not be UTF-8: neither costs the scrape.
func TestListenerNames(t *testing.T) {
	r, err := reactor.New(reactor.Options{Loops: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	accept := func(*reactor.Conn) (reactor.Handler, error) { return nil, io.EOF }
	tcp, err := r.Listen("tcp", "127.0.0.1:0", accept, nil)
	require.NoError(t, err)
	files, err := tcp.Files()
	require.NoError(t, err)
	t.Cleanup(func() { files[0].Close() })
	_, err = r.ListenFiles(files, accept, nil)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "caf\xe9")
	_, err = r.Listen("unix", path, accept, nil)
	require.NoError(t, err)

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.New(r))
	var listeners []string
	for _, m := range gather(t, registry)["quartet_listener_accepts_total"].GetMetric() {
		listeners = append(listeners, m.GetLabel()[0].GetValue())
	}
	require.ElementsMatch(t, []string{"tcp " + tcp.Addr().String(), "unix " + filepath.Dir(path) + "/caf\uFFFD"}, listeners)
}

// The names that users of Prometheus expect are there, and its linter has nothing to say.
func TestNames(t *testing.T) {
	registry, _ := served(t)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	names := known(t)
	for _, want := range []string{
		"quartet_loop_events_total{loop}", "quartet_loop_busy_seconds_total{loop}", "quartet_loop_tasks_pending{loop}",
		"quartet_listener_accepts_total{listener}", "quartet_listener_accept_errors_total{listener,errno}",
		"quartet_connections_active{loop}", "quartet_connections_closed_total{reason}", "quartet_receive_bytes_total",
		"quartet_transmit_bytes_total", "quartet_write_buffer_bytes", "quartet_read_pauses_total", "quartet_frames_total{codec}",
		"quartet_frame_errors_total{codec,kind}", "quartet_timers_pending{loop}",
	} {
		name, labels, _ := strings.Cut(strings.TrimSuffix(want, "}"), "{")
		require.Contains(t, names, name)
		require.Equal(t, labels, strings.Join(names[name], ","), name)
	}
	for name, labels := range names {
		for _, label := range labels {
			require.Contains(t, []string{"loop", "listener", "errno", "reason", "codec", "kind"}, label, name)
		}
	}
}

var descriptor = regexp.MustCompile(`^Desc\{fqName: "([a-z_]+)", .*variableLabels: \{([a-z,]*)\}\}$`)

// known returns the labels of each metric that the collector describes.
func known(t *testing.T) map[string][]string {
	t.Helper()
	r, err := reactor.New(reactor.Options{Loops: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	ch := make(chan *prometheus.Desc, 1000)
	metrics.New(r).Describe(ch)
	close(ch)
	names := map[string][]string{}
	for d := range ch {
		parts := descriptor.FindStringSubmatch(d.String())
		require.NotNil(t, parts, d.String())
		names[parts[1]] = nil
		if parts[2] != "" {
			names[parts[1]] = strings.Split(parts[2], ",")
		}
	}
	return names
}

// What was not measured is absent.
func TestUnmeasured(t *testing.T) {
	r, err := reactor.New(reactor.Options{Loops: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.New(r))
	f := gather(t, registry)
	require.Contains(t, f, "quartet_loop_events_total")
	for _, name := range []string{"quartet_loop_busy_seconds_total", "quartet_loop_event_seconds", "quartet_loop_task_lag_seconds"} {
		require.NotContains(t, f, name)
	}
}

var (
	metricName = regexp.MustCompile(`\bquartet_[a-z_]+`)
	labelLists = regexp.MustCompile(`\bby \(([^)]*)\)`)
	legend     = regexp.MustCompile(`\{\{([a-z]+)\}\}`)
)

// Every query of the dashboard asks for metrics and labels that there are, and every panel shows something.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct{ Name, Query string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	names := known(t)
	registry, _ := served(t)
	histograms := map[string]bool{}
	for name, f := range gather(t, registry) {
		histograms[name] = f.GetType() == dto.MetricType_HISTOGRAM
	}
	asked := map[string]bool{}
	check := func(expr string) {
		found := metricName.FindAllString(expr, -1)
		require.NotEmpty(t, found, expr)
		for _, full := range found {
			name := strings.TrimSuffix(full, "_bucket")
			require.Contains(t, names, name, expr)
			require.Equal(t, name != full, histograms[name], "%s: a histogram is asked for by its buckets, nothing else is", expr)
			asked[name] = true
			for _, list := range labelLists.FindAllStringSubmatch(expr, -1) {
				for _, label := range strings.Split(list[1], ", ") {
					require.Contains(t, append(names[name], "le"), label, expr)
				}
			}
			if strings.HasSuffix(name, "_total") {
				require.Regexp(t, `(rate|increase)\(|label_values\(`, expr, "a counter is shown by its growth")
			}
		}
		require.Equal(t, strings.Count(expr, "("), strings.Count(expr, ")"), expr)
		require.Equal(t, strings.Count(expr, "{"), strings.Count(expr, "}"), expr)
	}
	ids, taken := map[int]bool{}, map[string]bool{}
	for _, p := range dashboard.Panels {
		require.False(t, ids[p.ID], "two panels have the id %d", p.ID)
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := fmt.Sprint(p.GridPos.X+x, p.GridPos.Y+y)
				require.Falsef(t, taken[at], "%s overlaps another panel", p.Title)
				require.Less(t, p.GridPos.X+x, 24, p.Title)
				taken[at] = true
			}
		}
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			check(target.Expr)
			for _, label := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				require.Regexp(t, `by \([^)]*\b`+label[1]+`\b`, target.Expr, p.Title)
			}
		}
	}
	for _, v := range dashboard.Templating.List {
		if v.Name != "datasource" {
			check(v.Query)
		}
	}
	require.Greater(t, len(asked), 25)
}
