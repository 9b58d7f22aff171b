# frozen_string_literal: true

# Runs a Lambda function written in Ruby: loads the handler, then answers events that come over descriptor 3.
#
# The protocol is described in `frames.rs`, the behaviour follows Lambda's managed runtimes. Works from Ruby 3.1 on.
# The interpreter is started without RubyGems, which takes several times as long as everything else here: see
# `NeapRuntime::Gems`. The first argument is the folder of the language's own gems.

# What the function and its layers call `json.rb` must not be what this file loads.
foreign, $LOAD_PATH[0..] = $LOAD_PATH.partition { |folder| folder.start_with?("/var/task", "/opt", "/tmp") }
require "json"
require "stringio"
begin
  require "logger"
rescue LoadError
  # From Ruby 4.0 on it is one of the gems that come with the language.
  require "rubygems"
  require "logger"
end
$LOAD_PATH.unshift(*(["/var/task"] | foreign))

# Lambda's runtime has loaded them: functions use them without asking.
autoload :Net, "net/http"
autoload :URI, "uri"

module NeapRuntime
  BOOTED, READY, INIT_ERROR, RESPONSE, ERROR, FINAL_ERROR = 1, 2, 3, 4, 5, 10
  JSON_LOGS = ENV.fetch("AWS_LAMBDA_LOG_FORMAT", "").casecmp?("JSON")
  TENANT = ENV.delete("_NEAP_TENANT_ID")

  # Any text as valid UTF-8.
  def self.utf8(text)
    text = text.to_s
    return text.dup.force_encoding(Encoding::UTF_8).scrub if text.encoding == Encoding::BINARY

    text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub
  end

  # RubyGems, loaded at once where the function or a layer brings gems, else when something is required that is no plain
  # file, or `Gem` or `gem` is used.
  module Gems
    @wanted = false

    class << self
      def prepare(own)
        return if defined?(Gem)

        brought = ENV.fetch("GEM_PATH", "").split(":") - [own]
        return load if brought.any? { |folder| File.directory?(folder) }

        Object.autoload(:Gem, "rubygems")
        be_lazy
      end

      # True when it was not there before.
      def load
        return false if @wanted || (defined?(Gem) && !Object.autoload?(:Gem))

        @wanted = true
        require "rubygems"
      end

      private

      # Replaced rather than prepended: RubyGems keeps what it finds here under another name, and calls that.
      def be_lazy
        Kernel.module_eval do
          plain = instance_method(:require)
          define_method(:require) do |name|
            plain.bind_call(self, name)
          rescue LoadError
            raise unless Gems.load

            require(name)
          end

          def gem(...)
            Gems.load
            gem(...)
          end
          private :require, :gem
        end
      end
    end
  end

  # Standard output, which carries plain lines and frames; a frame begins at the start of a line.
  module Log
    TEXT_FRAME, JSON_FRAME = 0xa55a0003, 0xa55a0002
    # Longest frame that is taken for one.
    FRAME_MAX = 4 * 1024 * 1024
    @in_line = false

    # Notes whether the last line is complete, whoever prints.
    module Noted
      def write(*pieces)
        written = super
        last = pieces.last.to_s
        Log.in_line = last.getbyte(-1) != 10 unless last.empty?
        written
      end
    end

    # Where loggers write: each message is one record, however many lines it has.
    module Sink
      def self.write(text)
        Log.record(text, JSON_LOGS ? JSON_FRAME : TEXT_FRAME)
      end

      def self.close; end
    end

    class << self
      attr_writer :in_line

      def prepare
        STDERR.reopen(STDOUT)
        [STDOUT, STDERR].each do |stream|
          stream.sync = true
          stream.extend(Noted)
        end
        Logger.prepend(LoggerDefaults)
        Kernel.module_eval do
          def puts(*values)
            return $stdout.puts(*values) unless $stdout.equal?(STDOUT)

            text = values.flatten.map { |value| NeapRuntime.utf8(value) }.join("\n").chomp
            text.include?("\n") ? Log.record(text) : STDOUT.puts(text)
          end
          private :puts
        end
      end

      # Writes one record of any number of lines.
      def record(text, type = TEXT_FRAME)
        text = NeapRuntime.utf8(text).chomp
        return STDOUT.puts(text) if text.bytesize > FRAME_MAX

        STDOUT.write("\n") if @in_line
        micros = Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond)
        STDOUT.write([type, text.bytesize, micros].pack("NNQ>") + text.b)
        @in_line = false
        nil
      end

      def error(report, title)
        unless JSON_LOGS
          record(title)
          return record(JSON.pretty_generate(report))
        end
        fields = { timestamp: JsonFormatter.time(Time.now), level: "ERROR", message: title, **report }
        fields[:requestId] = $_global_aws_request_id if $_global_aws_request_id
        record(JSON.generate(fields), JSON_FRAME)
      end
    end

    class TextFormatter < Logger::Formatter
      def call(severity, time, progname, message)
        "#{severity[0]}, [#{format_datetime(time)} ##{Process.pid}] #{severity.rjust(5)} " \
          "#{$_global_aws_request_id} -- #{progname}: #{msg2str(message)}\n"
      end
    end

    class JsonFormatter < Logger::Formatter
      def self.time(time)
        time.getutc.strftime("%Y-%m-%dT%H:%M:%S.%6NZ")
      end

      def call(severity, time, progname, message)
        fields = { timestamp: JsonFormatter.time(time), level: severity }
        fields[:message] = NeapRuntime.utf8(message.is_a?(Exception) ? message.message : msg2str(message))
        fields[:requestId] = $_global_aws_request_id if $_global_aws_request_id
        fields[:logger] = NeapRuntime.utf8(progname) unless progname.to_s.empty?
        fields.update(about(message)) if message.is_a?(Exception)
        "#{JSON.generate(fields)}\n"
      end

      private

      def about(error)
        trace = Array(error.backtrace).map { |line| NeapRuntime.utf8(line) }
        about = { errorType: error.class.to_s, errorMessage: NeapRuntime.utf8(error.message), stackTrace: trace }
        about[:location] = trace.first if trace.first
        about
      end
    end

    # Loggers that print to the log do so in Lambda's format, from the function's log level on.
    module LoggerDefaults
      LEVEL = { "TRACE" => "debug" }.fetch(ENV["AWS_LAMBDA_LOG_LEVEL"], ENV.fetch("AWS_LAMBDA_LOG_LEVEL", "debug"))

      def initialize(device, *rotation, level: nil, formatter: nil, datetime_format: nil, **options)
        ours = device.nil? || device.equal?(STDOUT) || device.equal?(STDERR)
        if ours
          device = Sink
          formatter ||= (JSON_LOGS ? JsonFormatter : TextFormatter).new
          formatter.datetime_format = datetime_format if datetime_format && formatter.respond_to?(:datetime_format=)
        end
        level ||= ours ? LEVEL : Logger::DEBUG
        super(device, *rotation, level: level, formatter: formatter, datetime_format: datetime_format, **options)
      end
    end
  end

  # One event, which stands in for the HTTP answer that Lambda's runtime has here.
  class Request
    attr_reader :id, :deadline_ms, :arn, :trace, :client_context, :body

    def initialize(frame)
      _, @deadline_ms, @id, *lengths = frame.unpack("Cq<a36vvV")
      at = 53
      @arn, @trace, @client_context = lengths.map do |length|
        part = frame.byteslice(at, length).force_encoding(Encoding::UTF_8)
        at += length
        part
      end
      @body = frame.byteslice(at..).force_encoding(Encoding::UTF_8)
    end

    # A header of the Runtime API.
    def [](name)
      case name.downcase
      when "content-type" then "application/json"
      when "lambda-runtime-aws-request-id" then id
      when "lambda-runtime-deadline-ms" then deadline_ms.to_s
      when "lambda-runtime-invoked-function-arn" then arn
      when "lambda-runtime-trace-id" then trace
      when "lambda-runtime-client-context" then client_context
      end
    end
  end

  # The socket to the daemon.
  class Channel
    def initialize
      @events = IO.for_fd(3, "rb", autoclose: false)
      @answers = IO.for_fd(3, "wb", autoclose: false)
      @answers.sync = true
      # What the function starts itself must not hold it.
      @events.close_on_exec = true
    end

    # The next event. Ends the process where there will be none.
    def receive
      head = @events.read(4)
      exit!(0) unless head && head.bytesize == 4
      length = head.unpack1("V")
      frame = @events.read(length)
      exit!(0) unless frame && frame.bytesize == length
      Request.new(frame)
    rescue SignalException
      exit(0)
    end

    def send(kind, body = "")
      @answers.write([body.bytesize + 1, kind].pack("VC"), body)
    end

    def send_error(kind, type, report)
      type = type.b[0, 1024]
      send(kind, [type.bytesize].pack("v") + type + JSON.generate(report).b)
    end
  end

  # What Lambda tells the caller about an exception.
  class Report
    FRAMES_MAX = 100
    # Other classes are the function's own, and not told to the platform.
    KNOWN = %w[
      ArgumentError NoMethodError Exception StandardError NameError LoadError SystemExit SystemStackError
    ].freeze

    def initialize(error, phase)
      @error, @phase = error, phase
    end

    def body
      { errorMessage: message, errorType: "#{@phase}<#{@error.class}>", stackTrace: trace }
    end

    # The type as the platform counts it.
    def type
      KNOWN.include?(@error.class.to_s) ? "#{@phase}<#{@error.class}>" : "Function<UserException>"
    end

    private

    def message
      NeapRuntime.utf8(@error.message)
    rescue StandardError
      "the exception has no text"
    end

    def trace
      lines = Array(@error.backtrace).map { |line| NeapRuntime.utf8(line) }
      lines.reject { |line| line.start_with?("#{__FILE__}:") }.first(FRAMES_MAX)
    end
  end

  # Tells the environment the trace of each invocation. The C library keeps every value that a variable was ever given, which
  # would take memory with each call for good: after some calls the variable is a place of ours, which is written again and again.
  class TraceVariable
    NAME = "_X_AMZN_TRACE_ID"
    # Calls before what that takes is loaded, some milliseconds.
    PLAIN_MAX = 1000
    # Longest value in the place, in bytes.
    LENGTH_MAX = 1024

    def initialize
      @told = 0
    end

    def tell(trace)
      @told += 1
      prepare if @told == PLAIN_MAX
      if @place.nil? || trace.bytesize > LENGTH_MAX
        ENV[NAME] = trace
      else
        value = "#{NAME}=#{trace}\0"
        @place[0, value.bytesize] = value.b
        # The function may have set another.
        @put.call(@place)
      end
    end

    private

    def prepare
      require "fiddle"
      @place = Fiddle::Pointer.malloc(NAME.bytesize + LENGTH_MAX + 2)
      @put = Fiddle::Function.new(Fiddle.dlopen(nil)["putenv"], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_INT)
    rescue LoadError, Fiddle::DLError
      @place = nil
    end
  end

  # Answers events until the process ends.
  class Runner
    def initialize
      @channel = Channel.new
      @trace = TraceVariable.new
    end

    def run(handler)
      @channel.send(BOOTED)
      begin
        handler = LambdaHandler.new(env_handler: handler)
        require handler.handler_file_name
      rescue Exception => error # rubocop:disable Lint/RescueException -- also `exit` and syntax errors
        fail_with(INIT_ERROR, error, "Init", "Init error when loading handler #{ENV["_HANDLER"]}")
        exit(-4)
      end
      @channel.send(READY)
      loop { answer(handler, @channel.receive) }
    end

    private

    def answer(handler, request)
      $_global_aws_request_id = request.id
      @trace.tell(request.trace)
      begin
        event = AwsLambda::Marshaller.marshall_request(request)
        context = LambdaContext.new(request)
      rescue StandardError => error
        return fail_with(ERROR, error, "Runtime", "Error raised before the handler method")
      end
      @channel.send(RESPONSE, bytes(handler.call_handler(request: event, context: context)))
    rescue NameError => error
      # After it, as after what is no StandardError, Lambda starts the function anew.
      give_up(error)
    rescue StandardError => error
      fail_with(ERROR, error, "Function", "Error raised from handler method")
    rescue Exception => error # rubocop:disable Lint/RescueException -- also `exit` and stack overflows
      give_up(error)
    end

    # The answer's bytes: what the marshaller says, which may be something to read from.
    def bytes((response, content_type))
      return response.to_s unless content_type == "application/unknown"

      response.read.to_s
    end

    def give_up(error)
      fail_with(FINAL_ERROR, error, "Function", "Critical exception from handler")
      exit(-1)
    end

    def fail_with(kind, error, phase, title)
      report = Report.new(error, phase)
      Log.error(report.body, title)
      @channel.send_error(kind, report.type, report.body)
    end
  end
end

# JSON in and out; functions may replace these two, as on Lambda.
module AwsLambda
  class Marshaller
    class << self
      def marshall_request(raw_request)
        JSON.parse(raw_request.body)
      end

      def marshall_response(method_response)
        case method_response
        when StringIO, IO then [method_response, "application/unknown"]
        else method_response.to_json
        end
      end
    end
  end
end

# What handlers get as `context:`.
class LambdaContext
  attr_reader :aws_request_id, :invoked_function_arn, :log_group_name, :log_stream_name, :function_name,
              :memory_limit_in_mb, :function_version, :identity, :client_context, :deadline_ms, :tenant_id

  def initialize(request)
    @aws_request_id = request.id
    @invoked_function_arn = request.arn
    @deadline_ms = request.deadline_ms
    @client_context = JSON.parse(request.client_context) unless request.client_context.empty?
    @log_group_name = ENV["AWS_LAMBDA_LOG_GROUP_NAME"]
    @log_stream_name = ENV["AWS_LAMBDA_LOG_STREAM_NAME"]
    @function_name = ENV["AWS_LAMBDA_FUNCTION_NAME"]
    @memory_limit_in_mb = ENV["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
    @function_version = ENV["AWS_LAMBDA_FUNCTION_VERSION"]
    @tenant_id = NeapRuntime::TENANT
  end

  def get_remaining_time_in_millis
    [deadline_ms - Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond), 0].max
  end
end

# The object on which methods of the file's top level are called.
class LambdaHandler
  attr_reader :handler_file_name, :handler_method_name

  def initialize(env_handler:)
    parts = env_handler.split(".")
    unless [2, 3].include?(parts.size)
      raise ArgumentError, "Invalid handler '#{env_handler}': it names a file and a method as FILE.METHOD, or a file, " \
                           "a class or module and its method as FILE.CLASS.METHOD"
    end
    @handler_file_name, *@handler_class, @handler_method_name = parts
  end

  def call_handler(request:, context:)
    name = @handler_class.first
    receiver = name ? Kernel.const_get(name) : self
    AwsLambda::Marshaller.marshall_response(receiver.__send__(@handler_method_name, event: request, context: context))
  end
end

ENV.delete("_LAMBDA_TELEMETRY_LOG_FD")
NeapRuntime::Log.prepare
NeapRuntime::Gems.prepare(ARGV.shift)
NeapRuntime::Runner.new.run(ENV.fetch("_HANDLER", ""))
