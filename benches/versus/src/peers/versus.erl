%% The workloads on the BEAM, as OTP's documentation shows them. Prints one figure a line: name, value.
-module(versus).
-behaviour(gen_server).
-export([main/1, init/1, handle_call/3, handle_cast/2, handle_info/2, start_named/0]).

main([Workload, Count, Length]) ->
    Figures = work(list_to_atom(Workload), list_to_integer(Count), list_to_integer(Length)),
    [io:format("~s ~w~n", [Name, float(Value)]) || {Name, Value} <- Figures],
    erlang:halt(0, [{flush, true}]).

%% The counter.
init(sup) ->
    Child = #{id => counter, start => {?MODULE, start_named, []}},
    {ok, {#{strategy => one_for_one, intensity => 1000, period => 1}, [Child]}};
init(N) -> {ok, N}.
handle_call(next, _From, N) -> {reply, N + 1, N + 1};
handle_call(crash, _From, _N) -> exit(on_request).
handle_cast(bump, N) -> {noreply, N + 1};
handle_cast({busy, Kind}, N) -> block(Kind), gen_server:cast(self(), {busy, Kind}), {noreply, N}.
handle_info(_, N) -> {noreply, N}.

counter() -> {ok, Pid} = gen_server:start(?MODULE, 0, []), Pid.

work(call_roundtrip, Count, _) ->
    Counter = counter(),
    calls(Counter, 1000),
    Lap = lap(fun() -> calls(Counter, Count) end),
    Total = Count + 1001,
    Total = gen_server:call(Counter, next),
    per_op("call_roundtrip", Lap, Count);
work(call_contended, Count, _) ->
    Counter = counter(),
    Lap = lap(fun() -> parallel(8, fun(_) -> calls(Counter, Count) end) end),
    Total = Count * 8 + 1,
    Total = gen_server:call(Counter, next),
    rate("call_contended", Lap, Count * 8);
work(cast_1, Count, _) -> casts("cast_1", 1, Count);
work(cast_4, Count, _) -> casts("cast_4", 4, Count);
work(pingpong, Count, _) ->
    Echo = spawn(fun Loop() -> receive {ping, From} -> From ! pong, Loop() end end),
    Round = fun(_) -> Echo ! {ping, self()}, receive pong -> ok end end,
    repeat(1000, Round),
    per_op("pingpong", lap(fun() -> repeat(Count, Round) end), Count * 2);
work(ring_100, Count, _) -> ring("ring_100", 100, Count);
work(ring_1000, Count, _) -> ring("ring_1000", 1000, Count);
work(big, Count, _) ->
    Main = self(),
    Players = [spawn(fun() -> player(Main, Count) end) || _ <- lists:seq(1, 100)],
    All = list_to_tuple(Players),
    Lap = lap(fun() ->
        [Player ! {'begin', All} || Player <- Players],
        [receive done -> ok end || _ <- Players]
    end),
    rate("big", Lap, Count * 100);
work(spawn_exit, Count, _) ->
    Lap = lap(fun() ->
        repeat(Count, fun(_) ->
            {_, Ref} = spawn_monitor(fun() -> ok end),
            receive {'DOWN', Ref, process, _, _} -> ok end
        end)
    end),
    micros("spawn_exit", Lap, Count);
work(spawn_batch, Count, _) ->
    Lap = lap(fun() ->
        repeat(Count, fun(_) ->
            Refs = [element(2, spawn_monitor(fun() -> ok end)) || _ <- lists:seq(1, 1000)],
            [receive {'DOWN', Ref, process, _, _} -> ok end || Ref <- Refs]
        end)
    end),
    micros("spawn_batch", Lap, Count * 1000);
work(spawn_many_1k, Count, _) -> many("spawn_many_1k", Count);
work(spawn_many_10k, Count, _) -> many("spawn_many_10k", Count) ++ idle();
work(restart, Count, _) ->
    percentiles("restart", lists:flatmap(fun(_) -> restarts() end, lists:seq(1, Count div 100)));
work(link_fanout, Count, _) ->
    Laps = [fanout() || _ <- lists:seq(1, Count)],
    [{"link_fanout", lists:sum(Laps) / Count / 1000}];
work(block_sleep, _, Length) -> blocked("block_sleep", sleep, Length);
work(block_spin, _, Length) -> blocked("block_spin", spin, Length);
work(name_call, Count, _) ->
    {ok, Pid} = gen_server:start({local, counter}, ?MODULE, 0, []),
    calls(Pid, Count div 10),
    Pairs = [{element(1, lap(fun() -> calls(Pid, Count div 10) end)),
              element(1, lap(fun() -> calls(counter, Count div 10) end))} || _ <- lists:seq(1, 10)],
    {ByPid, ByName} = lists:unzip(Pairs),
    [{"name_call_pid", lists:sum(ByPid) / Count}, {"name_call_name", lists:sum(ByName) / Count}];
work(timers, Count, _) ->
    Self = self(),
    T0 = erlang:monotonic_time(nanosecond),
    Timers = [erlang:send_after(3600000, Self, tick) || _ <- lists:seq(1, Count)],
    T1 = erlang:monotonic_time(nanosecond),
    [true = is_integer(erlang:cancel_timer(Timer)) || Timer <- Timers],
    T2 = erlang:monotonic_time(nanosecond),
    [{"timers_arm", (T1 - T0) / Count}, {"timers_cancel", (T2 - T1) / Count}].

calls(Counter, Count) -> repeat(Count, fun(_) -> gen_server:call(Counter, next) end).

casts(Name, Producers, Count) ->
    Counter = counter(),
    Lap = lap(fun() ->
        parallel(Producers, fun(_) -> repeat(Count, fun(_) -> gen_server:cast(Counter, bump) end) end),
        Total = Count * Producers + 1,
        Total = gen_server:call(Counter, next, infinity)
    end),
    [Rate | _] = rate(Name, Lap, Count * Producers),
    [Rate].

ring(Name, Size, Hops) ->
    Main = self(),
    Members = [spawn(fun() -> receive {next, Next} -> member(Main, Next) end end) || _ <- lists:seq(1, Size)],
    [First | Rest] = Members,
    lists:foreach(fun({Member, Next}) -> Member ! {next, Next} end, lists:zip(Members, Rest ++ [First])),
    First ! {token, Size * 2},
    receive done -> ok end,
    Lap = lap(fun() -> First ! {token, Hops}, receive done -> ok end end),
    per_op(Name, Lap, Hops).

member(Main, Next) ->
    receive
        {token, 0} -> Main ! done;
        {token, Left} -> Next ! {token, Left - 1}
    end,
    member(Main, Next).

player(Main, Rounds) ->
    receive {'begin', All} -> ok end,
    repeat(Rounds, fun(_) ->
        element(rand:uniform(tuple_size(All)), All) ! {ping, self()},
        pong()
    end),
    Main ! done,
    pong().

pong() ->
    receive
        {ping, From} -> From ! pong, pong();
        pong -> ok
    end.

many(Name, Count) ->
    Before = rss(),
    T0 = erlang:monotonic_time(nanosecond),
    repeat(Count, fun(_) -> spawn(fun() -> receive _ -> ok end end) end),
    T1 = erlang:monotonic_time(nanosecond),
    timer:sleep(300),
    [{Name ++ "_time", (T1 - T0) / Count / 1000}, {Name ++ "_rss", (rss() - Before) / Count}].

idle() ->
    C0 = cpu(),
    timer:sleep(2000),
    [{"spawn_many_10k_idle_cpu", (cpu() - C0) / 2.0e9 * 100}].

%% A hundred crashes under a supervisor of their own: OTP goes through the window at each restart, so a long one
%% would slow it down.
restarts() ->
    process_flag(trap_exit, true),
    {ok, Supervisor} = supervisor:start_link(?MODULE, sup),
    Times = [begin
        T = erlang:monotonic_time(nanosecond),
        catch gen_server:call(counter, crash),
        answered(),
        erlang:monotonic_time(nanosecond) - T
    end || _ <- lists:seq(1, 100)],
    exit(Supervisor, shutdown),
    receive {'EXIT', Supervisor, _} -> Times end.

start_named() -> gen_server:start_link({local, counter}, ?MODULE, 0, []).

answered() ->
    case catch gen_server:call(counter, next) of
        N when is_integer(N) -> ok;
        _ -> answered()
    end.

fanout() ->
    Main = self(),
    Victim = spawn(fun() -> receive go -> exit(on_request) end end),
    [spawn(fun() ->
        Ref = monitor(process, Victim),
        Main ! told,
        receive {'DOWN', Ref, process, _, _} -> Main ! told end
    end) || _ <- lists:seq(1, 1000)],
    [receive told -> ok end || _ <- lists:seq(1, 1000)],
    timer:sleep(50),
    T0 = erlang:monotonic_time(nanosecond),
    Victim ! go,
    [receive told -> ok end || _ <- lists:seq(1, 1000)],
    erlang:monotonic_time(nanosecond) - T0.

blocked(Name, Kind, Length) ->
    [gen_server:cast(counter(), {busy, Kind}) || _ <- lists:seq(1, 16)],
    Light = counter(),
    Start = erlang:monotonic_time(nanosecond),
    percentiles(Name, pace(Light, Start, 0, Length, [])).

%% A call a millisecond; a late answer also stands for the calls it kept from being made.
pace(_, _, Next, Length, Times) when Next >= Length -> Times;
pace(Light, Start, Next, Length, Times) ->
    Due = Start + Next * 1000000,
    wait_until(Due),
    gen_server:call(Light, next, infinity),
    Now = erlang:monotonic_time(nanosecond),
    {After, Longer} = late(Now, Start, Next + 1, [Now - Due | Times]),
    pace(Light, Start, After, Length, Longer).

late(Now, Start, Next, Times) ->
    case Start + Next * 1000000 of
        Due when Due < Now -> late(Now, Start, Next + 1, [Now - Due | Times]);
        _ -> {Next, Times}
    end.

%% Its timers have a grain of a millisecond, so the last bit is waited for awake.
wait_until(Due) ->
    case Due - erlang:monotonic_time(nanosecond) of
        Left when Left > 1500000 -> timer:sleep((Left - 500000) div 1000000), wait_until(Due);
        Left when Left > 0 -> erlang:yield(), wait_until(Due);
        _ -> ok
    end.

block(sleep) -> timer:sleep(2);
block(spin) -> spin(erlang:monotonic_time(nanosecond) + 2000000).

spin(Until) -> case erlang:monotonic_time(nanosecond) < Until of true -> spin(Until); false -> ok end.

%% Measuring.
repeat(0, _) -> ok;
repeat(N, Fun) -> Fun(N), repeat(N - 1, Fun).

parallel(N, Fun) ->
    Refs = [element(2, spawn_monitor(fun() -> Fun(I) end)) || I <- lists:seq(1, N)],
    [receive {'DOWN', Ref, process, _, normal} -> ok end || Ref <- Refs].

lap(Fun) ->
    C0 = cpu(), T0 = erlang:monotonic_time(nanosecond),
    Fun(),
    {erlang:monotonic_time(nanosecond) - T0, cpu() - C0}.

cpu() -> {Ms, _} = erlang:statistics(runtime), Ms * 1000000.

per_op(Name, {Wall, Cpu}, Count) -> [{Name, Wall / Count}, {Name ++ "_cpu", Cpu / Count}].
rate(Name, {Wall, Cpu}, Count) -> [{Name, Count * 1.0e9 / Wall}, {Name ++ "_cpu", Cpu / Count}].
micros(Name, {Wall, _}, Count) -> [{Name, Wall / Count / 1000}].

percentiles(Name, Times) ->
    Sorted = lists:sort(Times),
    At = fun(Share) -> lists:nth(trunc((length(Sorted) - 1) * Share) + 1, Sorted) / 1000 end,
    [{Name ++ "_p50", At(0.5)}, {Name ++ "_p99", At(0.99)}].

rss() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [KiB]} = re:run(Status, "VmRSS:\\s+(\\d+)", [{capture, all_but_first, list}]),
    list_to_integer(KiB) * 1024.
