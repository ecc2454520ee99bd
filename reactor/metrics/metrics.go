// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

// Package metrics shows a reactor's counters to Prometheus.
//
//	prometheus.MustRegister(metrics.New(r))
//	http.Handle("/metrics", promhttp.Handler())
//	go http.ListenAndServe("127.0.0.1:9100", nil)
//
// Units are seconds and bytes. No metric has a label for each connection: the labels are loops, listeners, reasons and
// codecs, of which there are few. What needs Options.Measure is absent without it. A process with several reactors
// gives each a label of its own, by prometheus.WrapRegistererWith.
//
// dashboard.json beside this file is a Grafana dashboard of them.
package metrics

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quartet-go/quartet/reactor"
)

// New makes a collector of r's Stats, ready to be registered. Each scrape takes the reactor down once; a loop that is
// held by a handler delays it for a second and shows as quartet_loop_stuck.
func New(r *reactor.Reactor) prometheus.Collector { return collector{r} }

type collector struct{ r *reactor.Reactor }

// A metric is a name, what it means and its labels.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

var all []metric

func define(kind prometheus.ValueType, name, help string, labels ...string) metric {
	m := metric{prometheus.NewDesc("quartet_"+name, help, labels, nil), kind}
	all = append(all, m)
	return m
}

func counter(name, help string, labels ...string) metric {
	return define(prometheus.CounterValue, name, help, labels...)
}

func gauge(name, help string, labels ...string) metric {
	return define(prometheus.GaugeValue, name, help, labels...)
}

func histogram(name, help string, labels ...string) metric {
	return define(prometheus.UntypedValue, name, help, labels...) // which has no kind of its own
}

var (
	loopEvents       = counter("loop_events_total", "Events that the poller reported.", "loop")
	loopTurns        = counter("loop_turns_total", "Wake-ups of the loop for its mailbox, timers and connections to look at again.", "loop")
	loopTasks        = counter("loop_tasks_total", "Tasks of the mailbox that were run.", "loop")
	loopTasksPending = gauge("loop_tasks_pending", "Tasks that wait in the mailbox, but for those that the loop has taken out.", "loop")
	loopStuck        = gauge("loop_stuck", "1 if the loop did not answer within a second: its counters are those of the last answer.", "loop")
	loopSlow         = counter("loop_slow_handlers_total", "Events that took longer than Options.SlowHandler.", "loop")
	loopBusy         = counter("loop_busy_seconds_total", "Time that the loop was busy with events, handlers included. Needs Options.Measure.", "loop")
	loopEventTime    = histogram("loop_event_seconds", "Time for one event, handlers included. Needs Options.Measure.", "loop")
	loopTaskLag      = histogram("loop_task_lag_seconds", "How long tasks waited in the mailbox. Needs Options.Measure.", "loop")
	loopTimerLag     = histogram("loop_timer_lag_seconds", "How late timers ran.", "loop")
	timersPending    = gauge("timers_pending", "Deadlines to come.", "loop")

	connsActive    = gauge("connections_active", "Stream connections that are open or being made, and sockets of DialPacket.", "loop")
	connsLingering = gauge("connections_lingering", "Stream connections that have ended and wait for their peer's end.", "loop")
	connsOpened    = counter("connections_opened_total", "Stream connections that got a handler.")
	connsRefused   = counter("connections_refused_total", "Stream connections that their accept func refused.")
	connsClosed    = counter("connections_closed_total", "Stream connections that ended, by why.", "reason")
	panics         = counter("handler_panics_total", "Panics and Goexits in handlers.")

	receiveBytes = counter("receive_bytes_total", "Bytes received by stream connections.")
	sendBytes    = counter("transmit_bytes_total", "Bytes sent by stream connections.")
	lostBytes    = counter("unsent_bytes_total", "Bytes written by handlers that could not be sent.")
	reads        = counter("reads_total", "Receiving system calls on stream connections.")
	readAgains   = counter("read_again_total", "Receiving system calls that brought nothing (EAGAIN).")
	writes       = counter("writes_total", "Sending system calls on stream connections.")
	writeAgains  = counter("write_again_total", "Sending system calls that took nothing (EAGAIN).")
	readPauses   = counter("read_pauses_total", "Times that reading stopped: paused by a handler, output above high water, buffers full.")
	writeBuffer  = gauge("write_buffer_bytes", "Output that waits for its peers.")
	buffered     = gauge("buffered_bytes", "Bytes received and unconsumed or written and unsent, as Options.MaxBuffered counts them.")

	frames      = counter("frames_total", "Frames decoded.", "codec")
	frameErrors = counter("frame_errors_total", "Streams that broke or ended inside a frame.", "codec", "kind")

	accepts      = counter("listener_accepts_total", "Stream connections accepted.", "listener")
	acceptErrors = counter("listener_accept_errors_total", "Calls of accept(2) that failed.", "listener", "errno")
	atMaxConns   = counter("listener_at_max_conns_total", "Times that accepting stopped because Options.MaxConns were open.", "listener")
	peerLimited  = counter("listener_peer_limited_total", "Connections refused because their peer had MaxPerPeer open.", "listener")
	rateLimited  = counter("listener_rate_limited_total", "Times that accepting stopped because of AcceptRate.", "listener")

	datagramsReceived  = counter("datagrams_received_total", "Datagrams delivered.", "listener")
	datagramsTruncated = counter("datagrams_truncated_total", "Datagrams delivered that were longer than MaxDatagram.", "listener")
	datagramsSent      = counter("datagrams_sent_total", "Datagrams that the kernel took.", "listener")
	datagramsUnsent    = counter("datagrams_unsent_total", "Datagrams that the kernel did not take.", "listener")
	datagramsErrors    = counter("datagrams_receive_errors_total", "What ICMP messages said, and other failures to receive.", "listener")
	datagramsRefused   = counter("datagrams_refused_total", "Datagrams that began no session.", "listener")
	datagramsDropped   = counter("datagrams_dropped_total", "Datagrams that the kernel discarded for want of room in the receive buffer.", "listener")
)

// Describe is part of prometheus.Collector.
func (collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range all {
		ch <- m.desc
	}
}

// A batch is one collection.
type batch chan<- prometheus.Metric

func (b batch) add(m metric, value float64, labels ...string) {
	b <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
}

func (b batch) histogram(m metric, h *reactor.Histogram, labels ...string) {
	buckets, below := map[float64]uint64{}, uint64(0)
	for i, n := range h.Counts[:len(h.Counts)-1] {
		below += n
		buckets[h.Bound(i).Seconds()] = below
	}
	b <- prometheus.MustNewConstHistogram(m.desc, h.Count(), h.Sum.Seconds(), buckets, labels...)
}

// Collect is part of prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s, b := c.r.Stats(), batch(ch)
	unsent := int64(0)
	for i := range s.Loops {
		l := &s.Loops[i]
		unsent += l.Unsent
		b.loop(l, strconv.Itoa(l.Loop))
	}
	b.add(writeBuffer, float64(unsent))
	b.add(buffered, float64(s.Buffered))
	b.totals(s.Total())
	sums := listenerSums{}
	for i := range s.Listeners {
		sums.listener(&s.Listeners[i])
	}
	for of, value := range sums {
		b <- prometheus.MustNewConstMetric(of.desc, prometheus.CounterValue, value, of.labels()...)
	}
}

func (b batch) loop(l *reactor.LoopStats, loop string) {
	stuck := 0.0
	if l.Stale {
		stuck = 1
	}
	b.add(loopStuck, stuck, loop)
	b.add(loopEvents, float64(l.Events), loop)
	b.add(loopTurns, float64(l.Turns), loop)
	b.add(loopTasks, float64(l.Tasks), loop)
	b.add(loopTasksPending, float64(l.Mailbox), loop)
	b.add(loopSlow, float64(l.SlowHandlers), loop)
	b.add(timersPending, float64(l.Timers), loop)
	b.add(connsActive, float64(l.Conns), loop)
	b.add(connsLingering, float64(l.Lingering), loop)
	b.histogram(loopTimerLag, &l.TimerLag, loop)
	if l.EventTime != nil {
		b.add(loopBusy, l.EventTime.Sum.Seconds(), loop)
		b.histogram(loopEventTime, l.EventTime, loop)
	}
	if l.TaskLag != nil {
		b.histogram(loopTaskLag, l.TaskLag, loop)
	}
}

func (b batch) totals(n reactor.Counters, closes reactor.CloseCounts, codecs []reactor.CodecStats) {
	b.add(connsOpened, float64(n.Opens))
	b.add(connsRefused, float64(n.Refusals))
	for reason, count := range closes {
		b.add(connsClosed, float64(count), reactor.CloseReason(reason).String())
	}
	b.add(panics, float64(n.Panics))
	b.add(receiveBytes, float64(n.BytesReceived))
	b.add(sendBytes, float64(n.BytesSent))
	b.add(lostBytes, float64(n.BytesUnsent))
	b.add(reads, float64(n.Reads))
	b.add(readAgains, float64(n.ReadAgains))
	b.add(writes, float64(n.Writes))
	b.add(writeAgains, float64(n.WriteAgains))
	b.add(readPauses, float64(n.ReadPauses()))
	for _, c := range codecs {
		b.add(frames, float64(c.Frames), c.Codec)
		b.add(frameErrors, float64(c.TooLong), c.Codec, "too_long")
		b.add(frameErrors, float64(c.Malformed), c.Codec, "malformed")
		b.add(frameErrors, float64(c.Truncated), c.Codec, "truncated")
		b.add(frameErrors, float64(c.Other), c.Codec, "other")
	}
}

// listenerSums are the values of the listeners' counters. Listeners of one address, which share a socket or have it
// with SO_REUSEPORT, are added up: a series that came twice would cost the whole scrape.
type listenerSums map[listenerSeries]float64

type listenerSeries struct {
	desc            *prometheus.Desc
	listener, errno string // errno is "" for what has no such label
}

func (of listenerSeries) labels() []string {
	if of.errno == "" {
		return []string{of.listener}
	}
	return []string{of.listener, of.errno}
}

func (sums listenerSums) listener(l *reactor.ListenerStats) {
	name := strings.ToValidUTF8(l.Network+" "+l.Address, "\uFFFD") // as labels must be and paths need not
	add := func(m metric, n uint64) { sums[listenerSeries{desc: m.desc, listener: name}] += float64(n) }
	if d := &l.Datagrams; l.Packets {
		add(datagramsReceived, d.Received)
		add(datagramsTruncated, d.Truncated)
		add(datagramsSent, d.Sent)
		add(datagramsUnsent, d.Unsent)
		add(datagramsErrors, d.ReceiveErrors)
		add(datagramsRefused, d.Refused)
		add(datagramsDropped, d.Dropped)
		return
	}
	add(accepts, l.Accepts)
	add(atMaxConns, l.AtMaxConns)
	add(peerLimited, l.PeerLimited)
	add(rateLimited, l.RateLimited)
	for errno, n := range l.Errors {
		sums[listenerSeries{acceptErrors.desc, name, errno}] += float64(n)
	}
}
